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

# Reads the arguments of a Debian image: sets `tar_only` and `force`.
debian_arguments() {
  tar_only=
  force=
  while [ $# -gt 0 ]; do
    case $1 in
      --tar) tar_only=${2:?"--tar needs a FILE"} && shift ;;
      --force) force=1 ;;
      *) die "unknown argument $1" "usage: $0 [--force] [--tar FILE]" ;;
    esac
    shift
  done
}

# debian_tar NAME SUFFIX: makes `tar` (compressed as the suffix says) from the list of packages in the
# folder `recipe`, unless the cache has it.
debian_tar() {
  name=$1
  suffix=$2
  images=$(cd "$recipe/.." && pwd)
  command -v mmdebstrap >/dev/null || die "mmdebstrap is missing" "run as root: apt-get install mmdebstrap"
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  [ -n "$codename" ] || die "/etc/os-release names no release" "build on Debian or Ubuntu"
  packages=$(sed -e 's/#.*//' "$recipe/packages" | xargs)

  # What apt would install: another version is another image. Without lists only the recipe counts.
  versions=$(apt-cache policy $packages 2>/dev/null | awk '/^[^ ]/ {name = $1} /Candidate:/ {print name $2}')
  key=$( (cat "$recipe/build" "$recipe/packages" "$images/dpkg.cfg" "$images/lib.sh"; dpkg --print-architecture
          echo "$codename $versions") | sha256sum | cut -c 1-16)
  cache=$(image_cache)
  tar=$cache/$name-$codename-$key.$suffix
  new=$cache/.$$-$name.$suffix

  if [ -n "$force" ] || [ ! -f "$tar" ]; then
    if [ "$(id -u)" != 0 ]; then
      command -v newuidmap >/dev/null || die "newuidmap is missing" "run as root: apt-get install uidmap"
      grep -q -e "^$(id -un):" -e "^$(id -u):" /etc/subuid 2>/dev/null ||
        die "$(id -un) has no subordinate ids" \
            "run as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un)"
    fi
    # Not below $HOME: as an ordinary user the packages are unpacked by a subordinate id, which must
    # be able to come here.
    work=$(mktemp -d)
    chmod 755 "$work"
    trap 'rm -rf "$work" "$new"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM

    # The sources of this release's `main`; others are for this machine and not for the image.
    sources=
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
      [ -f "$file" ] || continue
      grep -E "^deb .* $codename(-[a-z]+)? (.* )?main( |\$)" "$file" >>"$work/debian.list" || true
    done
    for file in /etc/apt/sources.list.d/*.sources; do
      [ -f "$file" ] || continue
      # Comments would end up in the stanza's fields.
      grep -v '^#' "$file" | awk -v RS= -v ORS='\n\n' -v codename="$codename" '
        $0 ~ "(^|\n)Suites:[^\n]*[ \t]" codename && $0 ~ "(^|\n)Components:[^\n]*[ \t]main" &&
        $0 !~ "(^|\n)Enabled:[ \t]*no"' >>"$work/debian.sources"
    done
    for file in "$work/debian.list" "$work/debian.sources"; do
      [ ! -s "$file" ] || sources="$sources $file"
    done
    [ -n "$sources" ] || die "no apt source of $codename main on this machine" "see /etc/apt/sources.list"

    # How this machine reaches its mirror. For the build only: the hook below takes it out again.
    apt-config dump Acquire 2>/dev/null |
      grep -E '^Acquire::(https?::Proxy|Check-Valid-Until|Check-Date|Retries|https?::Timeout)' \
      >"$work/apt.conf" || true

    step "fetch and unpack $(echo $packages | wc -w) packages and what they need"
    # usr-is-merged instead of usrmerge, which drags all of perl in.
    if ! mmdebstrap --quiet --format=tar --variant=apt --include="$(echo $packages usr-is-merged | tr ' ' ,)" \
      --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
      --aptopt="$work/apt.conf" --dpkgopt="$images/dpkg.cfg" \
      --customize-hook='rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"' \
      --customize-hook='chroot "$1" python3 -m compileall -q /usr/lib/python3 /usr/lib/python3.* || true' \
      --customize-hook='rm -rf "$1"/var/cache/debconf/*-old "$1"/var/lib/dpkg/*-old "$1"/var/log/*.log "$1"/var/log/apt' \
      --customize-hook='rm -f "$1/etc/hostname" "$1/etc/resolv.conf"' \
      "$codename" "$new" $sources 2>"$work/log"; then
      cat "$work/log" >&2
      die "mmdebstrap failed" "try: apt-get update; its own words are above"
    fi
    mv "$new" "$tar"
    step_done
    # Of older recipes and versions.
    find "$cache" -name "$name-*.$suffix" -mtime +30 -delete
  fi
}
