/** Parts of an image whose arrival is noted. */
const PARTS = 32;

/** When each part of an image arrived at a mote, and when it booted: what its timeline is drawn from. */
export class ArrivalLog {
  readonly arrivalS: number[] = [];
  readonly bootS: number[] = [];
  readonly #imageBytes: number;
  #boots = 0;

  constructor(imageBytes: number) {
    this.#imageBytes = imageBytes;
  }

  note(nowUs: number, received: number, boots: number): void {
    for (; this.#boots < boots; this.#boots++) this.bootS.push(nowUs / 1e6);
    while (this.arrivalS.length < PARTS && received * PARTS >= (this.arrivalS.length + 1) * this.#imageBytes)
      this.arrivalS.push(nowUs / 1e6);
  }
}
