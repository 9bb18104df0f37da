/** Counters. The name is a stable snake_case word, the label says which kind or reason. */
export interface Metrics {
  count(name: string, label?: string, by?: number): void;
}

export const noMetrics: Metrics = { count: () => {} };
