// How much of an archive is believed. Each bound is about what the archive says or expands to, and is checked before anything of it is written.

export interface ArchiveLimits {
  /**
   * Sizes of all files together, holes included, in bytes: what a copy of the tree may take.
   *
   * @defaultValue 64 GiB
   */
  readonly bytes: number;
  /** Entries of any kind. @defaultValue 1000000 */
  readonly entries: number;
  /**
   * How many bytes may come of one compressed byte, once more than `ratioFloorBytes` have come. gzip makes 1032 at most, the others any number.
   *
   * @defaultValue 200
   */
  readonly ratio: number;
  /** @defaultValue 256 MiB */
  readonly ratioFloorBytes: number;
  /** Of a path in the archive, and of a target of a link. Linux takes 4095 at most. @defaultValue 4095 */
  readonly nameBytes: number;
  /** Directories above an entry, itself included. @defaultValue 512 */
  readonly depth: number;
  /** Names and values of the extended attributes of one entry. @defaultValue 128 KiB */
  readonly xattrBytes: number;
  /** Extended headers of one entry (PAX records, GNU long names, maps of sparse files). @defaultValue 1 MiB */
  readonly headerBytes: number;
}

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

export const defaultArchiveLimits: ArchiveLimits = {
  bytes: 64 * GiB,
  entries: 1_000_000,
  ratio: 200,
  ratioFloorBytes: 256 * MiB,
  nameBytes: 4095,
  depth: 512,
  xattrBytes: 128 * KiB,
  headerBytes: MiB,
};
