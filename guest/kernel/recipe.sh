# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# How a kernel is built from a Debian source package and a config of ours over allnoconfig, and kept
# by the hash of everything that decides its bytes. Sourced by the scripts named `build` that make one.
#
# The caller sets KERNEL (a word for messages and for the host name inside), PACKAGE, ARCH, PATCHES (a
# folder; empty: none), ROOT (where results are kept, by hash), RECIPE (the command for the source
# offer), OBJECTS (about how many a full build compiles: only the progress display counts on it),
# defines `fragment` (prints the config's binding lines) and calls `build_kernel`, which sets TARGET.

TARBALL=/usr/src/$PACKAGE.tar.xz
TARGET=
WORK=
MAKE_PID=

build_kernel() {
  local hash
  set_architecture
  check_tools
  hash=$(content_hash)
  TARGET=$ROOT/$hash/$IMAGE
  if [ ! -f "$TARGET" ]; then
    mkdir -p "$ROOT" || fail "cannot make $ROOT; set MSB_CACHE to a folder you may write"
    build_locked "$hash"
  fi
}

say() { printf '%s kernel: %s\n' "$KERNEL" "$*" >&2; }
fail() { say "$*"; exit 1; }

# Sets KARCH, CROSS, IMAGE (the name of the result) and BUILT (where make leaves it).
set_architecture() {
  case $ARCH in
    x86_64) KARCH=x86_64 CROSS="" IMAGE=vmlinux BUILT=vmlinux ;;
    aarch64) KARCH=arm64 CROSS=aarch64-linux-gnu- IMAGE=Image BUILT=arch/arm64/boot/Image ;;
    *) fail "unknown architecture $ARCH: x86_64 or aarch64" ;;
  esac
  if [ "$(uname -m)" = "$ARCH" ]; then CROSS=""; fi
  if [ "$ARCH" = x86_64 ] && [ "$(uname -m)" != x86_64 ]; then CROSS=x86_64-linux-gnu-; fi
}

check_tools() {
  local missing=() tool
  # tool:package
  for tool in make:make "${CROSS}gcc:gcc${CROSS:+-${CROSS%-}}" \
    "${CROSS}ld:binutils${CROSS:+-${CROSS%-}}" gcc:gcc flex:flex bison:bison bc:bc \
    xz:xz-utils tar:tar patch:patch perl:perl setpriv:util-linux \
    flock:util-linux; do
    command -v "${tool%%:*}" > /dev/null || missing+=("${tool##*:}")
  done
  [ -e /usr/include/gelf.h ] || missing+=(libelf-dev)
  [ -e "$TARBALL" ] || missing+=("$PACKAGE")
  [ ${#missing[@]} -eq 0 ] || fail "packages are missing: apt-get install ${missing[*]}"
}

source_version() {
  dpkg-query -W -f '${Version}' "$PACKAGE" 2> /dev/null || sha256sum "$TARBALL" | cut -c 1-16
}

# Covers the source, the compiler, the fragment, the patches, and the functions below that decide
# the bytes.
content_hash() {
  {
    echo "$ARCH $PACKAGE $(source_version)"
    "${CROSS}gcc" --version | head -n 1
    "${CROSS}ld" --version | head -n 1
    fragment
    cat_patches
    declare -f unpack_source resolve_config set_make compile_kernel
  } | sha256sum | cut -c 1-32
}

patches() { [ -z "$PATCHES" ] || find "$PATCHES" -name '*.patch' | LC_ALL=C sort; }
cat_patches() { patches | while IFS= read -r patch; do cat "$patch"; done; }

# One build at a time on a host: two would only slow each other down. The lock's descriptor is
# closed in all children, so it is free the moment this script is gone, however it went.
build_locked() {
  local hash=$1
  exec 9> "$ROOT/.lock" || fail "cannot write $ROOT/.lock; set MSB_CACHE to a folder you may write"
  if ! flock -n 9; then
    say "waiting for another build to end (it holds $ROOT/.lock)"
    flock 9
  fi
  rm -rf "$ROOT/.building"
  [ ! -f "$ROOT/$hash/$IMAGE" ] || return 0
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  WORK=$ROOT/.building
  mkdir "$WORK" || fail "cannot make $WORK"
  SECONDS=0
  build_in_work "$hash" 9>&-
  exec 9>&-
}

clean_up() {
  if [ -n "$MAKE_PID" ]; then
    kill -- "-$MAKE_PID" 2> /dev/null || true
    wait "$MAKE_PID" 2> /dev/null || true
  fi
  if [ -n "$WORK" ]; then rm -rf "$WORK"; fi
}

build_in_work() {
  local hash=$1
  say "$PACKAGE $(source_version) for $ARCH, to be kept in $ROOT/$hash"
  mkdir "$WORK/src" "$WORK/out"
  fragment > "$WORK/fragment.config"
  set_make
  say "unpack the source"
  unpack_source || fail "unpack $TARBALL into $WORK failed ($(free_space) free there)"
  say "resolve the config"
  resolve_config || fail_with_log "resolve the config"
  check_config
  compile_kernel || fail_with_log "compile"
  collect "$hash"
  chmod 755 "$WORK/out"
  # An older, incomplete folder cannot be there: folders appear only by this rename.
  mv -T "$WORK/out" "$ROOT/$hash" || fail "move the result to $ROOT/$hash"
  rm -rf "$WORK"
  WORK=
  say "built in $((SECONDS / 60)) min $((SECONDS % 60)) s"
}

free_space() { df -h --output=avail "$WORK" | tail -n 1 | tr -d ' '; }

# Left out are the sources of processors and hardware that our machines do not have (their Kconfig
# files stay, they are read): most of the tree, which would cost longer to write than to compile.
unpack_source() {
  local skip=(--exclude='*/tools/testing' --exclude='*/Documentation/*/*' --exclude='*.dts*')
  local folder
  for folder in drivers/{gpu,media,infiniband,scsi,usb,staging,iio,hwmon,pinctrl,clk,mtd,ata,input} \
    drivers/net/{ethernet,wireless,phy,can,dsa,usb} sound fs/{btrfs,xfs,ocfs2,nfs,nfsd,smb,f2fs} \
    arch/{alpha,arc,arm,csky,loongarch,m68k,mips,parisc,powerpc,riscv,s390,sh,sparc,xtensa}; do
    skip+=(--exclude="linux-source-*/$folder/*.[chS]")
  done
  tar -C "$WORK/src" -xf "$TARBALL" --strip-components=1 "${skip[@]}" || return 1
  local patch
  while IFS= read -r patch; do
    say "apply ${patch##*/}"
    patch -d "$WORK/src" -p1 -s --no-backup-if-mismatch < "$patch" >&2 || return 1
  done < <(patches)
}

resolve_config() {
  KCONFIG_ALLCONFIG=$WORK/fragment.config "${MAKE[@]}" allnoconfig > "$WORK/log" 2>&1
}

# Kconfig drops silently what its dependencies forbid and turns on what others select.
check_config() {
  local line option wrong=()
  while IFS= read -r line; do
    case $line in
      CONFIG_*=*) grep -qxF -- "$line" "$WORK/src/.config" || wrong+=("$line") ;;
      '# CONFIG_'*' is not set')
        option=${line#\# }
        if grep -q "^${option%% *}=" "$WORK/src/.config"; then wrong+=("$line"); fi
        ;;
    esac
  done < "$WORK/fragment.config"
  [ ${#wrong[@]} -eq 0 ] || {
    say "these lines of the config did not survive the resolution:"
    printf '  %s\n' "${wrong[@]}" >&2
    exit 1
  }
}

# Fills MAKE. Names and times that would make two builds differ come from the source package. The
# build happens in the source tree, where all paths are relative, so ccache knows objects again
# wherever the cache lies.
set_make() {
  local compiler=${CROSS}gcc
  if command -v ccache > /dev/null; then compiler="ccache $compiler"; fi
  MAKE=(env "KBUILD_BUILD_TIMESTAMP=$(date -u -d "@$(stat -c %Y "$TARBALL")")"
    KBUILD_BUILD_USER=microsandbox "KBUILD_BUILD_HOST=$KERNEL" KBUILD_BUILD_VERSION=1 LC_ALL=C
    make -C "$WORK/src" "ARCH=$KARCH" "CROSS_COMPILE=$CROSS" "CC=$compiler")
}

# In a process group of its own, so that a signal to this script can end all of it; should this
# script be killed outright, the kernel tells make.
compile_kernel() {
  : > "$WORK/log"
  set -m
  (exec setpriv --pdeathsig TERM "${MAKE[@]}" "-j${MSB_JOBS:-$(nproc)}" "${BUILT##*/}" \
    > "$WORK/log" 2>&1) &
  MAKE_PID=$!
  set +m
  show_progress
  local status=0
  wait "$MAKE_PID" || status=$?
  MAKE_PID=
  return "$status"
}

# A line rewritten every second on a terminal, else a line every tenth of the way.
show_progress() {
  local done_objects shown=-1 tenth
  while kill -0 "$MAKE_PID" 2> /dev/null; do
    sleep 1
    done_objects=$(grep -cE '^  (CC|AS) ' "$WORK/log" || true)
    if [ -t 2 ]; then
      printf '\r%s kernel: compile, %d of about %d objects, %d s ' \
        "$KERNEL" "$done_objects" "$OBJECTS" "$SECONDS" >&2
    else
      tenth=$((done_objects * 10 / OBJECTS))
      if [ "$tenth" -gt "$shown" ]; then
        say "compile, $done_objects of about $OBJECTS objects, $SECONDS s"
        shown=$tenth
      fi
    fi
  done
  if [ -t 2 ]; then echo >&2; fi
}

collect() {
  local hash=$1 out=$WORK/out
  if [ "$ARCH" = x86_64 ]; then
    "${CROSS}objcopy" --strip-all "$WORK/src/vmlinux" "$out/vmlinux"
    readelf -n "$out/vmlinux" 2> /dev/null | grep -q Xen || fail "the kernel has no PVH entry note"
  else
    cp "$WORK/src/$BUILT" "$out/$IMAGE"
  fi
  cp "$WORK/src/.config" "$out/$IMAGE.config"
  cp "$WORK/src/System.map" "$out/System.map"
  cp "$WORK/src/COPYING" "$out/COPYING"
  cp "$WORK/fragment.config" "$out/fragment.config"
  cat_patches > "$out/patches.diff"
  write_source_offer > "$out/SOURCE"
}

write_source_offer() {
  cat << OFFER
$IMAGE in this folder is the Linux kernel, free software under the GNU General Public License,
version 2 (COPYING). Its complete corresponding source:

  source package  $PACKAGE, version $(source_version), as Debian publishes it
  changes         patches.diff in this folder (empty: none)
  configuration   $IMAGE.config in this folder (fragment.config resolved over allnoconfig)
  compiler        $("${CROSS}gcc" --version | head -n 1)
  build           $RECIPE, of the microsandbox source tree

Whoever passes this kernel on passes that source on with it, or the written offer to give it to
anyone for three years at no more than the cost of the copy, as section 3 of the license says.
OFFER
}

fail_with_log() {
  cp "$WORK/log" "$ROOT/last-failure.log" || true
  grep -E -A3 'error|Error ' "$WORK/log" | tail -n 15 >&2 || true
  fail "$1 failed; the whole log: $ROOT/last-failure.log"
}
