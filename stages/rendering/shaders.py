"""The shaders in GLSL, one pair for each set of features: in a software driver, both sides of a branch cost time.

Light is computed linearly and written as sRGB, multiplied by alpha.
"""

from __future__ import annotations

# features: TEXTURED and GLOWING_TEXTURE sample an image, GLOWING adds emission, LIT shades by the normal, CUT drops
# fragments by their alpha
_VERSION = "#version 330 core\n"

_VERTEX = """
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec4 uv;
layout(location = 3) in vec4 color;
layout(location = 4) in vec3 emission;
uniform mat4 clip_from_world;
out vec3 frag_position;
out vec3 frag_normal;
out vec4 frag_uv;
out vec4 frag_color;
out vec3 frag_emission;
void main() {
    gl_Position = clip_from_world * vec4(position, 1.0);
    frag_position = position;
    frag_normal = normal;
    frag_uv = uv;
    frag_color = color;
    frag_emission = emission;
}
"""

# light: base + slope . n is between 0.35 and 0.93 for any direction n, and differs for all six sides of a box
_COLOR = """
in vec3 frag_position;
in vec3 frag_normal;
in vec4 frag_uv;
in vec4 frag_color;
in vec3 frag_emission;
uniform sampler2D color_texture;
uniform sampler2D emission_texture;
uniform vec3 eye;
uniform float light_base;
uniform vec3 light_slope;
uniform float cutoff;      // fragments below are dropped; 0 keeps all
uniform float ceiling;     // fragments from here on belong to another pass; above 1 keeps all
uniform bool opaque;
out vec4 pixel;

// the power 1 / 2.4 as a polynomial of the root, off by a fifth of a level of 255 at most: pow is slow in a software
// driver
vec3 srgb(vec3 light) {
    vec3 root = sqrt(light);
    vec3 curve = root * (1.44791463 + root * (-0.94492504 + root * (0.84289354 - 0.30962607 * root))) - 0.03700579;
    return mix(light * 12.92, curve, step(0.0031308, light));
}

void main() {
    vec4 base = frag_color;
#ifdef TEXTURED
    base *= texture(color_texture, frag_uv.xy);
#endif
    float alpha = 1.0;
#ifdef CUT
    if (base.a < cutoff || base.a >= ceiling) discard;
    alpha = opaque ? 1.0 : clamp(base.a, 0.0, 1.0);
#endif
    vec3 color = base.rgb;
#ifdef LIT
    vec3 face = cross(dFdx(frag_position), dFdy(frag_position));  // its normal, whichever way it points
    vec3 n = dot(frag_normal, frag_normal) > 1e-8 ? frag_normal : face;
    float shade = dot(light_slope, n) * inversesqrt(max(dot(n, n), 1e-30));
    color *= light_base + (dot(n, face) * dot(face, eye - frag_position) < 0.0 ? -shade : shade);
#endif
#ifdef GLOWING
    vec3 emission = frag_emission;
#ifdef GLOWING_TEXTURE
    emission *= texture(emission_texture, frag_uv.zw).rgb;
#endif
    color += emission;
#endif
    pixel = vec4(srgb(clamp(color, 0.0, 1.0)) * alpha, alpha);
}
"""

_DEPTH = """
in vec4 frag_uv;
in vec4 frag_color;
uniform sampler2D color_texture;
uniform float cutoff;
void main() {
#ifdef CUT
    float alpha = frag_color.a;
#ifdef TEXTURED
    alpha *= texture(color_texture, frag_uv.xy).a;
#endif
    if (alpha < cutoff) discard;
#endif
}
"""


def sources(kind: str, features: frozenset[str]) -> tuple[str, str]:
    """A vertex and a fragment shader. kind: "color" or "depth"."""
    head = _VERSION + "".join(f"#define {feature}\n" for feature in sorted(features))
    return head + _VERTEX, head + {"color": _COLOR, "depth": _DEPTH}[kind]
