// What others need of this folder, loaded where there are changes to capture or to look at.
export { changesOf, discardCapture, summaryOf } from './changes.ts';
export {
  type Capture,
  createCapture,
  markEnded,
  readCapture,
  readCaptures,
  viewDirectories,
} from './store.ts';
