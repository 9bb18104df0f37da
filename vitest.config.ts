import { availableParallelism } from "node:os";
import { defineConfig, type ViteUserConfig } from "vitest/config";

const interop = "test/interop/**/*.test.ts";
const slow = "test/slow/**/*.test.ts";

const config: ViteUserConfig = defineConfig({
  test: {
    // On two cores the default is one; the tests of a command line mostly wait, so there is room for half as many more.
    maxWorkers: Math.ceil(availableParallelism() * 1.5),
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: [interop, slow],
          testTimeout: 120_000,
          execArgv: ["--expose-gc"],
          isolate: false, // modules keep no state of a test, and loading them anew for each file took a fifth of the time
        },
      },
      { test: { name: "slow", include: [slow], testTimeout: 1_500_000 } },
      { test: { name: "interop", include: [interop], testTimeout: 120_000, fileParallelism: false } },
    ],
  },
});

export default config;
