// Prints COUNT pixel-art faces, one SVG a line, from the seeds "0", "1", "2" ... (build_resources.py runs it).
import { createAvatar } from "@dicebear/core";
import * as pixelArt from "@dicebear/pixel-art";

const backgroundColor = ["b6e3f4", "c0aede", "d1d4f9", "ffd5dc", "ffdfbf", "c7ecd4", "f1e6c8", "dfe3e8"];
const count = Number(process.argv[2]);
for (let seed = 0; seed < count; seed++) {
  const svg = createAvatar(pixelArt, { seed: String(seed), backgroundColor }).toString();
  process.stdout.write(svg.replaceAll("\n", " ") + "\n");
}
