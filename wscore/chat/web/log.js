// @ts-check
/**
 * One log as a client sees it: the position reached, the check that nothing is left out or repeated, and what is
 * still to be written to it. Pure; imports nothing.
 *
 * @typedef {{epoch: string, offset: number}} Position
 * @typedef {{offset: number, from: string, text: string, time: string, id: string, room?: string, to?: string}} Message
 * @typedef {Position & {messages: Message[], gap: boolean, more: boolean}} Slice
 * @typedef {{id: string, epoch: string, offset: number, time: string, duplicate: boolean}} Acknowledgement
 * @typedef {{request: {[field: string]: any}, resolve: (value: Acknowledgement) => void,
 *   reject: (error: Error) => void}} Outgoing
 */

/** One offset did not follow the other. */
export class BrokenLog extends Error {
  /** @param {number} got @param {number} last */
  constructor(got, last) {
    super(`offset ${got} after ${last}`);
    this.code = got > last ? "hole" : "repeat";
  }
}

/** A room, or the inbox. */
export class Log {
  /** @param {string | null} room null for the inbox @param {Position | null} position */
  constructor(room, position) {
    this.room = room;
    this.position = position;
    /** Whether the current connection gets its pushes. */
    this.ready = false;
    /** @type {Outgoing[]} written, not yet acknowledged; the first may be on its way */
    this.queue = [];
    this.sending = false;
    /** @type {{resolve: (value: string) => void, reject: (error: Error) => void}[]} callers of join */
    this.waiting = [];
  }

  /**
   * Take a slice asked for from `asked`, and return its messages.
   * @param {Slice} slice @param {Position | null} asked
   * @throws {BrokenLog}
   */
  begin(slice, asked) {
    const { messages } = slice;
    const continues = asked !== null && !slice.gap;
    if (continues && slice.epoch !== asked.epoch) throw new BrokenLog(slice.offset, asked.offset);
    let last = slice.offset;
    if (continues) last = asked.offset;
    else if (messages.length > 0) last = messages[0].offset - 1;
    for (const { offset } of messages) {
      if (offset !== last + 1) throw new BrokenLog(offset, last);
      last = offset;
    }
    const complete = !(continues && slice.more);
    if (complete && last !== slice.offset) throw new BrokenLog(slice.offset, last);
    this.position = { epoch: slice.epoch, offset: last };
    return { messages, continues, gap: slice.gap };
  }

  /** Take one pushed message. @param {Message} message @throws {BrokenLog} */
  follow(message) {
    const { epoch, offset } = /** @type {Position} */ (this.position); // set by the slice before
    if (message.offset !== offset + 1) throw new BrokenLog(message.offset, offset);
    this.position = { epoch, offset: message.offset };
    return this.position;
  }
}
