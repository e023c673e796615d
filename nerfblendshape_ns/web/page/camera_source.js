// Rays of a pinhole camera, for the passes of head and torso.

export const CAMERA_SOURCE = `
uniform mat3 cameraAxes;
uniform vec3 cameraOrigin;
uniform vec2 focal, centre, size;
vec3 rayDirection() {
  vec2 pixel = vec2(gl_FragCoord.x, size.y - gl_FragCoord.y);
  return cameraAxes * normalize(vec3((pixel.x - centre.x) / focal.x, -(pixel.y - centre.y) / focal.y, -1.0));
}
`;

/** @typedef {{pose: ArrayLike<number>, focal: number[], centre: number[]}} Camera focal length and centre as fractions of the image */

/**
 * @param {WebGL2RenderingContext} gl @param {any} pass @param {Camera} camera @param {number} width @param {number} height
 */
export function setCamera(gl, pass, { pose, focal, centre }, width, height) {
  gl.uniformMatrix3fv(pass.at("cameraAxes"), false, [0, 1, 2].flatMap((column) => [pose[column], pose[4 + column], pose[8 + column]]));
  gl.uniform3f(pass.at("cameraOrigin"), pose[3], pose[7], pose[11]);
  gl.uniform2f(pass.at("focal"), focal[0] * width, focal[1] * height);
  gl.uniform2f(pass.at("centre"), centre[0] * width, centre[1] * height);
  gl.uniform2f(pass.at("size"), width, height);
}
