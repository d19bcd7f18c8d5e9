// Holds manifests of KEDA, a JSON list on standard input, against its schemas; a line for each that does not pass.
import { readFileSync } from "node:fs";

const kinds = await import(`${process.env.MODULES}/@kubernetes-models/keda/keda.sh/v1alpha1/index.mjs`);

for (const manifest of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    new kinds[manifest.kind](manifest).validate();
  } catch (error) {
    console.log(`${manifest.kind} ${manifest.metadata.name}: ${error.message}`);
  }
}
