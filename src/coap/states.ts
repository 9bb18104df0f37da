import { StateTable } from "../util/state-table.ts";

/*
 * The state machines of this folder. What they are drawn from is what runs: the code asks these
 * tables, and an event that has no row is ignored. Pictures: docs/state-machines.
 */

export type ConfirmableState = "waiting" | "sent" | "over";
type ConfirmableEvent = "turn" | "time-out" | "settled" | "exhausted" | "cancelled";

/** A CON that this endpoint sends (reliability.ts). */
export const CONFIRMABLE: StateTable<ConfirmableState, ConfirmableEvent> = new StateTable(
  "Confirmable message",
  "waiting",
  [
    ["waiting", "turn", "sent", "RFC 7252 4.7: fewer than NSTART are under way"],
    ["waiting", "cancelled", "over", "nobody wants to know any more"],
    ["sent", "time-out", "sent", "4.2: sent again, the time-out doubled"],
    ["sent", "settled", "over", "4.2: ACK, RST or the response itself"],
    ["sent", "exhausted", "over", "4.2: MAX_RETRANSMIT or MAX_TRANSMIT_SPAN is reached"],
    ["sent", "cancelled", "over", "4.2: giving up is allowed at any time"],
  ],
);

export type ServerExchangeState = "working" | "acknowledged" | "leisure" | "answered" | "gone";
type ServerExchangeEvent = "slow" | "respond" | "spread" | "silence" | "reject" | "idempotent" | "evict" | "expire";

/** A request that came in (server-exchanges.ts, server.ts). */
export const SERVER_EXCHANGE: StateTable<ServerExchangeState, ServerExchangeEvent> = new StateTable(
  "Request that came in",
  "working",
  [
    ["working", "slow", "acknowledged", "RFC 7252 5.2.2: an empty ACK, the response will be separate"],
    ["working", "respond", "answered", "5.2.1, 5.2.3: piggybacked, or NON for NON"],
    ["working", "spread", "leisure", "8.2: to a group, the answer waits for a random moment"],
    ["working", "silence", "answered", "RFC 7967 2: nothing is said; a CON is acknowledged"],
    ["working", "reject", "gone", "5.4.1: RST, or ignored"],
    ["acknowledged", "respond", "answered", "5.2.2: a message of its own"],
    ["acknowledged", "silence", "answered", "RFC 7967 2"],
    ["leisure", "respond", "answered", "8.2: the moment has come"],
    ["leisure", "silence", "answered", "RFC 9175 2.4: the answer may not go there"],
    ["leisure", "evict", "gone", "limits.ts: a newer exchange needs the room"],
    ["answered", "idempotent", "gone", "4.5: a GET may be answered afresh when it is repeated"],
    ["answered", "evict", "gone", "limits.ts: a newer exchange needs the room"],
    ["working", "expire", "gone", "4.8.2: EXCHANGE_LIFETIME or NON_LIFETIME is over"],
    ["acknowledged", "expire", "gone", "4.8.2"],
    ["leisure", "expire", "gone", "4.8.2"],
    ["answered", "expire", "gone", "4.8.2"],
  ],
);

export type ClientExchangeState =
  | "asked"
  | "accepted"
  | "proving"
  | "proving again"
  | "observing"
  | "renewing"
  | "renewing again"
  | "leaving"
  | "over";
type ClientExchangeEvent =
  | "acknowledge"
  | "challenge"
  | "register"
  | "respond"
  | "one of many"
  | "leave"
  | "fail"
  | "cancel";

/** A request that this endpoint made (client-exchanges.ts). */
export const CLIENT_EXCHANGE: StateTable<ClientExchangeState, ClientExchangeEvent> = new StateTable(
  "Request that was made",
  "asked",
  [
    ["asked", "acknowledge", "accepted", "RFC 7252 5.2.2: the response will be separate"],
    ["asked", "challenge", "proving", "RFC 9175 2.3: 4.01 with Echo, asked again with it"],
    ["asked", "register", "observing", "RFC 7641 3.1: 2.xx with Observe"],
    ["asked", "respond", "over", "5.3.2: matched by endpoint and token"],
    ["asked", "one of many", "asked", "RFC 7252 8.2, RFC 9177 4.4: more may come"],
    ["accepted", "acknowledge", "accepted", "the ACK of a later block, or a copy"],
    ["accepted", "challenge", "proving", "RFC 9175 2.3"],
    ["accepted", "register", "observing", "RFC 7641 3.1"],
    ["accepted", "respond", "over", "5.3.2"],
    ["accepted", "one of many", "accepted", "RFC 9177 4.4"],
    ["proving", "acknowledge", "proving", "5.2.2"],
    ["proving", "challenge", "proving again", "RFC 9175 2.3: by another value, of an origin behind a proxy"],
    ["proving", "register", "observing", "RFC 7641 3.1"],
    ["proving", "respond", "over", "5.3.2"],
    ["proving", "one of many", "proving", "RFC 9177 4.4"],
    ["proving again", "acknowledge", "proving again", "5.2.2"],
    ["proving again", "register", "observing", "RFC 7641 3.1"],
    ["proving again", "respond", "over", "5.3.2: a third challenge is told like any response"],
    ["proving again", "one of many", "proving again", "RFC 9177 4.4"],
    ["proving again", "fail", "over", "as above"],
    ["proving again", "cancel", "over", "the caller's word"],
    ["observing", "acknowledge", "observing", "RFC 7641 3.3.1: the renewal of a registration arrived"],
    ["observing", "register", "observing", "RFC 7641 3.2: a notification"],
    ["observing", "challenge", "renewing", "RFC 9175 2.3: the renewal is to be proven"],
    ["observing", "respond", "over", "RFC 7641 3.2: no Observe, or an error"],
    ["observing", "leave", "leaving", "RFC 7641 3.6: GET with Observe 1"],
    ["renewing", "acknowledge", "renewing", "5.2.2"],
    ["renewing", "register", "observing", "RFC 7641 3.2"],
    ["renewing", "respond", "over", "RFC 7641 3.2"],
    ["renewing", "leave", "leaving", "RFC 7641 3.6"],
    ["renewing", "challenge", "renewing again", "RFC 9175 2.3: by another value"],
    ["renewing again", "acknowledge", "renewing again", "5.2.2"],
    ["renewing again", "register", "observing", "RFC 7641 3.2"],
    ["renewing again", "respond", "over", "RFC 7641 3.2"],
    ["renewing again", "leave", "leaving", "RFC 7641 3.6"],
    ["renewing again", "fail", "over", "as above"],
    ["renewing again", "cancel", "over", "RFC 7641 3.6"],
    ["leaving", "acknowledge", "leaving", "5.2.2"],
    ["leaving", "respond", "over", "RFC 7641 3.6: the answer without Observe"],
    ["asked", "fail", "over", "4.2, 5.3.2: time-out, RST, or a critical option that is not understood"],
    ["accepted", "fail", "over", "as above"],
    ["proving", "fail", "over", "as above"],
    ["observing", "fail", "over", "as above"],
    ["renewing", "fail", "over", "as above"],
    ["leaving", "fail", "over", "as above"],
    ["asked", "cancel", "over", "the caller's word"],
    ["accepted", "cancel", "over", "the caller's word"],
    ["proving", "cancel", "over", "the caller's word"],
    ["observing", "cancel", "over", "RFC 7641 3.6: the next notification is rejected"],
    ["renewing", "cancel", "over", "RFC 7641 3.6"],
    ["leaving", "cancel", "over", "the caller's word"],
  ],
);

export type ObservationState = "idle" | "due" | "telling" | "stale" | "gone";
type ObservationEvent = "change" | "sent" | "settled" | "remove";

/** A client on the list of observers (observe/notifier.ts). */
export const OBSERVATION: StateTable<ObservationState, ObservationEvent> = new StateTable("Observer", "idle", [
  ["idle", "change", "due", "RFC 7641 4.2: there is something to tell"],
  ["due", "change", "due", "4.5.2: the newest state is told, not each one"],
  ["due", "sent", "telling", "4.5.1: NSTART, and 3 s for NON, allow it"],
  ["due", "settled", "idle", "the handler has nothing to tell now"],
  ["telling", "change", "stale", "4.5.2: one is under way"],
  ["telling", "settled", "idle", "4.5: acknowledged, or the gap is over"],
  ["stale", "change", "stale", "4.5.2"],
  ["stale", "settled", "due", "4.5.2: on with the newest state"],
  ["idle", "remove", "gone", "3.6, 4.2: left, or an error"],
  ["due", "remove", "gone", "3.6, 4.2"],
  ["telling", "remove", "gone", "3.6, 4.5: RST, or no ACK"],
  ["stale", "remove", "gone", "3.6, 4.5"],
]);

export type QUploadState = "probing" | "sending" | "awaiting" | "over";
type QUploadEvent = "set" | "last set" | "quiet" | "missing" | "end";

/** A body that is sent by Q-Block1 (blockwise/q-block1-client.ts). */
export const Q_UPLOAD: StateTable<QUploadState, QUploadEvent> = new StateTable("Upload by Q-Block1", "probing", [
  ["probing", "set", "sending", "RFC 9177 4.1: the first block was acknowledged, so the server knows how"],
  ["probing", "missing", "sending", "4.3: the server knows how, though its ACK was lost"],
  ["probing", "last set", "awaiting", "4.3: the body has one set only"],
  ["sending", "set", "sending", "7.2: after NON_TIMEOUT_RANDOM, or at once after 2.31"],
  ["sending", "last set", "awaiting", "4.3: all blocks are under way"],
  ["sending", "missing", "sending", "4.3: 4.08 names blocks, they go out again"],
  ["awaiting", "missing", "awaiting", "4.3: 4.08 names blocks, they go out again"],
  ["awaiting", "quiet", "awaiting", "7.2: the last block once more, up to NON_MAX_RETRANSMIT times"],
  ["probing", "end", "over", "4.1: 4.02, RST or time-out; or a response that says it all"],
  ["sending", "end", "over", "4.3: a final response, or the caller's word"],
  ["awaiting", "end", "over", "4.3, 7.2: the final response, or nothing came any more"],
]);

export type QDownloadState = "probing" | "receiving" | "over";
type QDownloadEvent = "first" | "block" | "quiet" | "end";

/** A body that is fetched by Q-Block2 (blockwise/q-block2-client.ts). */
export const Q_DOWNLOAD: StateTable<QDownloadState, QDownloadEvent> = new StateTable(
  "Download by Q-Block2",
  "probing",
  [
    ["probing", "quiet", "probing", "RFC 9177 7.2: asked again, up to NON_MAX_RETRANSMIT times"],
    ["probing", "first", "receiving", "4.4: a block with ETag and Size2 says what is missing"],
    ["receiving", "block", "receiving", "4.4: on with the next set, or for gaps of one before"],
    ["receiving", "quiet", "receiving", "7.2: missing blocks are asked for, up to NON_MAX_RETRANSMIT times"],
    ["probing", "end", "over", "4.1: 4.02, RST or time-out"],
    ["receiving", "end", "over", "4.4: whole, or another ETag, or an error, or nothing came any more"],
  ],
);

export const STATE_TABLES: readonly StateTable<string, string>[] = [
  CONFIRMABLE,
  SERVER_EXCHANGE,
  CLIENT_EXCHANGE,
  OBSERVATION,
  Q_UPLOAD,
  Q_DOWNLOAD,
];
