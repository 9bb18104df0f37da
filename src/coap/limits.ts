/** Every bound of the CoAP layer. A bound that is hit is counted under `coap_refused`. */
export const COAP_LIMITS = {
  /** Largest datagram that is parsed: RFC 7252 section 4.6's 1152 bytes, with room for options. */
  maxDatagramBytes: 1500,
  /** Of a table that all share and that is half full, the part that one address may fill, whatever its ports. */
  addressShare: 0.25,
  /** Longest token that a request may have (RFC 8974 section 2.2.2). */
  maxTokenBytes: 64,
  /** Options in one message; RFC 7252 sets no limit, a mote's request has under ten. */
  maxOptions: 64,
  /** Exchanges whose duplicates are remembered (RFC 7252 section 4.5), in all. */
  maxServerExchanges: 8_192,
  /** Of those, the ones of one peer. */
  maxServerExchangesPerPeer: 64,
  /** Requests of ours without an answer, in all. */
  maxClientExchanges: 4_096,
  /** Requests and separate responses of ours that wait for NSTART, per peer. */
  maxQueuedPerPeer: 64,
  /** Peers for which a message-ID counter is kept. */
  maxPeers: 16_384,
  /** Datagrams that wait for the host. */
  maxTransmits: 4_096,
  /** Clients that observe, in all. */
  maxObservations: 8_192,
  /** Of those, the ones of one peer. */
  maxObservationsPerPeer: 32,
  /** Addresses of which it is known whether they hear what is sent to them. */
  maxAddresses: 16_384,
  /** How long an address stays proven. */
  addressProofUs: 3_600_000_000,
  /** How long an Echo value shows that a request is fresh. */
  echoFreshUs: 60_000_000,
  /** Bytes of request bodies that are being put together, in all. */
  maxBlock1Bytes: 8_388_608,
  /** Request bodies that are being put together, in all. */
  maxBlock1Contexts: 1_024,
  /** Of those, the ones of one peer. */
  maxBlock1ContextsPerPeer: 4,
  /** Bodies that are being sent by Q-Block2, in all. */
  maxQBlock2Jobs: 1_024,
  /** Bodies of answers to FETCH, POST and the like that are fetched block by block, and their bytes in all. */
  maxResponseBodies: 256,
  maxResponseBodyBytes: 8_388_608,
  /** Messages of sets of blocks whose IDs are remembered, so that a RST is known. */
  maxQBlock2Ids: 4_096,
  /** Observations of one address, whatever its ports. */
  maxObservationsPerAddress: 1_024,
  /** Requests that a proxy has under way. */
  maxProxied: 64,
  /** Of those, the ones for one origin; and clients that wait for the same answer. */
  maxProxiedPerOrigin: 16,
  maxProxyJoined: 64,
  /** Largest body that a proxy carries. */
  maxProxiedBytes: 4_194_304,
  /** Bytes of responses that a proxy keeps. */
  maxProxyCacheBytes: 33_554_432,
  /** Answers to multicast requests that wait for their turn within the leisure. */
  maxLeisurely: 256,
  /** Answered exchanges of ours that are remembered, so that a repeated CON response is acknowledged. */
  maxFinishedClientExchanges: 1_024,
} as const;

/** Whether an address that has `own` of the `all` entries of a table of `max` is to leave the rest to others. */
export const isOverShare = (max: number, all: number, own: number): boolean =>
  all >= max / 2 && own >= max * COAP_LIMITS.addressShare;

/** Whether a table of `max` that has `all` entries takes one more of an address that has `own` of them. */
export const hasRoom = (max: number, all: number, own: number): boolean => all < max && !isOverShare(max, all, own);
