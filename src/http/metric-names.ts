/** A metric, as Prometheus and docs/metrics.md have it. */
export interface MetricName {
  readonly type: "counter" | "gauge";
  readonly help: string;
  /** What its label says. */
  readonly label?: string;
}

const counter = (help: string, label?: string): MetricName =>
  label === undefined ? { type: "counter", help } : { type: "counter", help, label };
const gauge = (help: string, label?: string): MetricName =>
  label === undefined ? { type: "gauge", help } : { type: "gauge", help, label };

/** Counters by the name that the code counts under; each becomes `blockferry_<name>_total`. */
export const COUNTERS: Readonly<Record<string, MetricName>> = {
  audit_entries_lost: counter("Changes by the API that could not be written to the audit log.", "reason"),
  audit_log_tampered: counter("The audit log on disk does not make sense."),
  cache_corrupt: counter("Images whose bytes were not those of their digest; they are fetched again."),
  coap_challenged: counter("Requests answered by an Echo challenge (RFC 9175)."),
  coap_duplicates: counter("Requests that came once more, and were answered from memory.", "how"),
  coap_notifications: counter("Notifications of observed resources.", "how"),
  coap_refused: counter("Messages that were not acted upon.", "reason"),
  coap_repeated_responses: counter("Responses that came once more."),
  coap_responses: counter("Responses by their code.", "code"),
  coap_suppressed: counter("Responses that were not sent (RFC 7967, multicast).", "reason"),
  confirmation_refused: counter("Confirmations of new images that were not authentic.", "reason"),
  confirmations: counter("New images that proved themselves."),
  fetch_failed: counter("Fetches of images that failed.", "reason"),
  http_requests: counter("Requests to the API by the status of their answer.", "status"),
  image_unavailable: counter("Requests for an image that could not be had.", "reason"),
  lifecycle: counter("Changes of the lifecycle, by their kind.", "kind"),
  lwm2m_expired: counter("Registrations whose lifetime is over."),
  lwm2m_observations_ended: counter("Observations that ended.", "reason"),
  lwm2m_rebound: counter("Registrations that came from another address than before."),
  lwm2m_refused: counter("Registrations and the like that were refused.", "reason"),
  lwm2m_registrations: counter("What clients did with their registrations.", "kind"),
  lwm2m_reports: counter("Notifications and Sends of clients.", "by"),
  lwm2m_updates: counter("Updates of clients, begun and by how they ended.", "state"),
  proxied: counter("Requests forwarded by the proxy.", "how"),
  proxy_cache: counter("How the proxy's cache did.", "how"),
  publish: counter("Releases published.", "state"),
  publish_refused: counter("Releases refused.", "reason"),
  records_not_recovered: counter("Records of the store that were damaged.", "reason"),
  releases_withdrawn: counter("Releases that nobody stands for any more.", "reason"),
  rollout_decisions: counter("Decisions of rollouts.", "what"),
  store_lost_records: counter("The store has lost records."),
  store_write_failed: counter("Writes to the store that failed.", "reason"),
  suit_report_refused: counter("SUIT reports that were not authentic, or none.", "reason"),
  suit_reports: counter("SUIT reports by their result.", "result"),
  updates_stopped: counter("Updates ended because the device may not have the image.", "reason"),
  webhooks: counter("Events told to webhooks, by how that went.", "state"),
};

/** What is now; each becomes `blockferry_<name>`. */
export const GAUGES: Readonly<Record<string, MetricName>> = {
  coap_retransmitted: gauge("Messages sent once more since the start."),
  coap_dropped: gauge("Datagrams that found no room in the queue since the start."),
  coap_openExchanges: gauge("Exchanges that are remembered."),
  coap_observations: gauge("Observations of our resources."),
  coap_requests: gauge("Requests of ours under way."),
  devices: gauge("LwM2M clients that are registered."),
  fleet: gauge("Devices that are known."),
  releases: gauge("Releases on offer."),
  rollouts: gauge("Rollouts by state.", "state"),
  rollout_devices: gauge("Devices of rollouts that have not ended, by state.", "state"),
  updates: gauge("Newest updates of clients, by state.", "state"),
  support_ending: gauge("Classes whose support ends soon, or has ended."),
  audit_entries: gauge("Entries of the audit log."),
  process_rss_bytes: gauge("Memory of the process."),
  process_uptime_seconds: gauge("Seconds since the process started."),
};
