/** Texts of the files that a scenario names: the simulator itself reads none. */
export type ScenarioFiles = Readonly<Record<string, string>>;
