# SPDX-License-Identifier: Apache-2.0
# What the image recipes share: where the cache is, which msb-image, how progress looks.

die() {
  echo "$0: $1" >&2
  [ -z "${2:-}" ] || echo "  $2" >&2
  exit 1
}

# Named steps with their time, on stderr.
step_name=
step_start=
step() {
  step_done
  step_name=$1
  step_start=$(date +%s%N)
  echo "  $step_name ..." >&2
}
step_done() {
  [ -n "$step_name" ] || return 0
  ms=$(( ($(date +%s%N) - step_start) / 1000000 ))
  printf '  %s: %d.%01d s\n' "$step_name" $((ms / 1000)) $((ms % 1000 / 100)) >&2
  step_name=
}

# Outside the clone, so that a fresh clone on the same machine builds nothing twice.
image_cache() {
  cache=${MSB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/microsandbox}/images
  mkdir -p "$cache" || die "cannot make $cache" "set MSB_CACHE to a directory that you can write to"
  echo "$cache"
}

# Sets MSB_IMAGE if it is not set: the newest build of this clone, else the installed one.
find_msb_image() {
  root=$(cd "$(dirname "$0")/../../.." && pwd)
  [ -n "${MSB_IMAGE:-}" ] || MSB_IMAGE=$(ls -t "$root"/build/*/bin/msb-image 2>/dev/null | head -n 1)
  [ -n "$MSB_IMAGE" ] || MSB_IMAGE=$(command -v msb-image || true)
  [ -n "$MSB_IMAGE" ] || die "no msb-image found" "build it first, or set MSB_IMAGE"
}
