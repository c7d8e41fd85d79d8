// Draws what the server hands out with three.js: bare base colour and emission, from the given cameras.
import * as THREE from "three";
import { DRACOLoader } from "three/addons/loaders/DRACOLoader.js";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import { KTX2Loader } from "three/addons/loaders/KTX2Loader.js";
import { MeshoptDecoder } from "three/addons/libs/meshopt_decoder.module.js";
import { modelOf } from "./plain.js";

const renderer = new THREE.WebGLRenderer({ antialias: true, alpha: true, preserveDrawingBuffer: true });
renderer.setPixelRatio(1);
const draco = new DRACOLoader();
draco.setDecoderPath("/node_modules/three/examples/jsm/libs/draco/gltf/");
const ktx2 = new KTX2Loader().setTranscoderPath("/node_modules/three/examples/jsm/libs/basis/").detectSupport(renderer);

// Under an ambient light of pi, Lambert's law gives the base colour itself, and emission adds to it.
function bare(material) {
  return new THREE.MeshLambertMaterial({
    color: material.color,
    map: material.map,
    emissive: material.emissive ?? 0,
    emissiveMap: material.emissiveMap ?? null,
    emissiveIntensity: material.emissiveIntensity ?? 1,
    vertexColors: material.vertexColors,
    opacity: material.opacity,
    transparent: material.transparent,
    depthWrite: material.depthWrite,
    alphaTest: material.alphaTest,
    alphaMap: material.alphaMap ?? null,
    side: material.side,
  });
}

function matrix(rows) {
  return new THREE.Matrix4().set(...rows.flat());
}

function sceneOf(model, normalization) {
  const scene = new THREE.Scene();
  scene.add(new THREE.AmbientLight(0xffffff, Math.PI));
  const frame = new THREE.Group();
  frame.matrixAutoUpdate = false;
  frame.matrix.copy(matrix(normalization));
  frame.add(model);
  scene.add(frame);
  model.traverse((object) => {
    object.frustumCulled = false;
    if (object.isMesh) {
      object.material = Array.isArray(object.material) ? object.material.map(bare) : bare(object.material);
    }
    else if (object.isPoints || object.isLine) object.layers.disableAll(); // neither does the render stage draw them
  });
  return scene;
}

// intrinsics in pixels; camera_to_world has OpenCV's axes, three.js' cameras look along -z with y up
function cameraOf(intrinsics, pose, size) {
  const [[fx, , cx], [, fy, cy]] = intrinsics;
  const reach = Math.hypot(pose[0][3], pose[1][3], pose[2][3]);
  const near = reach - 1.01;
  const camera = new THREE.PerspectiveCamera();
  camera.matrixAutoUpdate = false;
  camera.matrix.copy(matrix(pose)).multiply(new THREE.Matrix4().makeScale(1, -1, -1));
  camera.updateMatrixWorld(true);
  camera.projectionMatrix.makePerspective(
    (-cx / fx) * near, ((size - cx) / fx) * near, (cy / fy) * near, (-(size - cy) / fy) * near, near, reach + 1.01);
  camera.projectionMatrixInverse.copy(camera.projectionMatrix).invert();
  return camera;
}

function release(scene) {
  scene.traverse((object) => {
    object.geometry?.dispose();
    for (const material of [object.material ?? []].flat()) {
      material.map?.dispose();
      material.emissiveMap?.dispose();
      material.alphaMap?.dispose();
      material.dispose();
    }
    object.skeleton?.dispose();
  });
}

async function gltfOf(job) {
  const loader = new GLTFLoader().setDRACOLoader(draco).setKTX2Loader(ktx2).setMeshoptDecoder(MeshoptDecoder);
  return (await loader.loadAsync(job.url)).scene;
}

// all views after one another: RGBA, multiplied by alpha, rows from the bottom up
async function draw(job) {
  const plain = /\.(obj|ply|stl)$/.test(job.url);
  const scene = sceneOf(plain ? await modelOf(job) : await gltfOf(job), job.normalization);
  const { size } = job;
  renderer.setSize(size, size, false);
  renderer.setClearColor(0, 0);
  const pixels = new Uint8Array(job.intrinsics.length * size * size * 4);
  const gl = renderer.getContext();
  job.intrinsics.forEach((intrinsics, index) => {
    renderer.render(scene, cameraOf(intrinsics, job.camera_to_world[index], size));
    gl.readPixels(0, 0, size, size, gl.RGBA, gl.UNSIGNED_BYTE, pixels.subarray(index * size * size * 4));
  });
  release(scene);
  return pixels;
}

for (;;) {
  const reply = await fetch("/job");
  if (reply.status === 204) continue; // nothing to do yet
  if (!reply.ok) break;
  const job = await reply.json();
  try {
    await fetch("/pixels", { method: "POST", body: await draw(job) });
  } catch (error) {
    await fetch("/error", { method: "POST", body: String(error?.stack ?? error) });
  }
}
