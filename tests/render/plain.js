// OBJ, PLY and STL by three.js' loaders, with what these leave to the page that shows the model: textures that a PLY
// header names, colours of the geometry, both sides, and the grey of what has no colour.
import * as THREE from "three";
import { MTLLoader } from "three/addons/loaders/MTLLoader.js";
import { OBJLoader } from "three/addons/loaders/OBJLoader.js";
import { PLYLoader } from "three/addons/loaders/PLYLoader.js";
import { STLLoader } from "three/addons/loaders/STLLoader.js";

const UNPAINTED = new THREE.Color().setRGB(0.55, 0.55, 0.55); // linear, as the render stage has it

async function objOf(job, manager) {
  const loader = new OBJLoader(manager);
  const known = {};
  for (const name of job.libraries) {
    const answer = await fetch(job.folder + encodeURIComponent(name));
    if (!answer.ok) continue; // a missing one is a warning
    // the loader takes spaces alone to end a word, and Tr 1, which exporters write for opaque, for invisible
    const text = (await answer.text()).replaceAll("\t", " ").replace(/^ *Tr +1(\.0*)? *$/gm, "");
    const told = new MTLLoader(manager).parse(text, job.folder);
    known = Object.assign(known, told.materialsInfo);
    told.materialsInfo = known;
    loader.setMaterials(told);
  }
  const model = await loader.loadAsync(job.url);
  model.traverse((object) => {
    for (const material of [object.material ?? []].flat()) {
      const told = known[material.name] ?? {};
      if (!told.kd && !told.map_kd && !material.vertexColors) material.color.copy(UNPAINTED);
    }
  });
  return model;
}

async function geometryOf(job, manager) {
  const loader = job.url.endsWith(".ply") ? new PLYLoader(manager) : new STLLoader(manager);
  const geometry = await loader.loadAsync(job.url);
  const material = new THREE.MeshBasicMaterial({ vertexColors: geometry.hasAttribute("color") });
  if (job.textures.length && geometry.hasAttribute("uv")) {
    material.map = await new THREE.TextureLoader(manager).loadAsync(job.folder + encodeURIComponent(job.textures[0]));
    material.map.colorSpace = THREE.SRGBColorSpace;
    material.map.wrapS = material.map.wrapT = THREE.RepeatWrapping;
  }
  if (!material.vertexColors && !material.map) material.color.copy(UNPAINTED);
  return new THREE.Mesh(geometry, material);
}

export async function modelOf(job) {
  const manager = new THREE.LoadingManager();
  const model = await (job.url.endsWith(".obj") ? objOf : geometryOf)(job, manager);
  await new Promise((resolve) => {
    manager.onLoad = resolve; // once the textures that the materials began to load are there
    manager.itemStart(job.url);
    manager.itemEnd(job.url);
  });
  model.traverse((object) => {
    for (const material of [object.material ?? []].flat()) material.side = THREE.DoubleSide;
  });
  return model;
}
