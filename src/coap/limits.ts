/** Every bound of the CoAP layer. A bound that is hit is counted under `coap_refused`. */
export const COAP_LIMITS = {
  /** Largest datagram that is parsed: RFC 7252 section 4.6's 1152 bytes, with room for options. */
  maxDatagramBytes: 1500,
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
  /** Answered exchanges of ours that are remembered, so that a repeated CON response is acknowledged. */
  maxFinishedClientExchanges: 1_024,
} as const;
