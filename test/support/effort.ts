/** More of the same: `npm run test:long`, which CI runs beside `npm test`. */
const LONG = process.env["BLOCKFERRY_LONG"] !== undefined;

export const effort = (usual: number, long: number): number => (LONG ? long : usual);
