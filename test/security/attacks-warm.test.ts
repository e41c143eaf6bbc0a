// In sandboxes that were made ready before it was known what for.
import { techniques } from './all-techniques.ts';
import { describeAttacks } from './technique.ts';

describeAttacks(techniques, ({ name }) => name === 'native', { warm: true });
