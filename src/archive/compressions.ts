// How an image that is built may be compressed: what every reader of App Container images must understand.
export const buildCompressions = ['none', 'gzip', 'bzip2', 'xz'] as const;
export type BuildCompression = (typeof buildCompressions)[number];
