// The other end of elsewhere.mjs.
const [module, parameters] = process.argv.slice(2);
const { worker } = await import(module);
process.send(await worker(JSON.parse(parameters)), () => process.disconnect());
