import { Option } from "commander";

/** Options of whoever brings a release to a gateway, by hand or in a bundle. */
export const RELEASE_OPTIONS: Readonly<Record<"alias" | "noAlias" | "dependency", Option>> = {
  alias: new Option(
    "--alias <name>",
    "offer the image at /<name> too, for clients whose URI is fixed; later releases keep it",
  ),
  noAlias: new Option("--no-alias", "offer it at no such path, though the release before it is"),
  dependency: new Option(
    "--dependency <envelope...>",
    "manifests that it depends on and does not bring along: they are put into the envelope",
  ),
};

/** A name; false for none; undefined for the one that the release before had. */
export interface AliasOption {
  readonly alias?: string | false;
}

/** The same as the API has it. */
export const aliasField = ({ alias }: AliasOption): { readonly alias?: string | null } =>
  alias === undefined ? {} : { alias: alias === false ? null : alias };
