// In sandboxes that were made ready before it was known what for.
import { describeBackend } from './describe-backend.ts';

describeBackend('native', { warm: true });
