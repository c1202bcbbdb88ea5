// SPDX-License-Identifier: Apache-2.0
// Arguments as a list: no shell, no quoting but QEMU's own commas, which no value here has.

#include "sandbox/qemu_command.h"

#include "base/text.h"
#include "base/units.h"
#include "sandbox/qemu_monitor.h"

namespace msb::sandbox {
namespace {

// Translated code; QEMU's default of 1 GiB would be most of a small sandbox's memory limit.
constexpr int kTranslationMiB = 64;

}  // namespace

std::string KernelCommandLine(const MachineSpec& spec, uint64_t tsc_khz) {
  std::string line = "console=hvc0 reboot=t panic=-1 mitigations=off noreplace-smp tsc=reliable";
  if (tsc_khz != 0) line += Cat(" tsc_early_khz=", tsc_khz);
  line += " lapic_timer_khz=1000000";
  line += spec.verbose_console ? " printk.time=1" : " quiet";
  return line;
}

std::vector<std::string> QemuCommand(const std::string& program, const MachineSpec& spec,
                                     const QemuNumbers& numbers, uint64_t tsc_khz) {
  std::string threads = spec.cpus > 1 ? "multi" : "single";
  auto fdset = [](int set) { return Cat("/dev/fdset/", set); };
  return {
      program,
      "-M",
      "microvm,acpi=off,pic=off,pit=off,rtc=on,isa-serial=off,x-option-roms=off,"
      "auto-kernel-cmdline=on",
      "-accel",
      Cat("tcg,thread=", threads, ",tb-size=", kTranslationMiB),
      "-cpu",
      // TCG runs `rep movsb` byte by byte: without ERMS nobody chooses it.
      "max,-erms",
      "-m",
      Cat(spec.memory_bytes / kMiB, "M"),
      "-smp",
      Cat(spec.cpus),
      "-nodefaults",
      "-no-user-config",
      "-no-reboot",
      "-display",
      "none",
      "-sandbox",
      "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
      "-global",
      "virtio-mmio.force-legacy=false",
      "-kernel",
      kJailKernel,
      "-initrd",
      kJailInitramfs,
      "-append",
      KernelCommandLine(spec, tsc_khz),
      // Events: a host that is out of space is told here. The monitor takes what we send, no more.
      "-chardev",
      Cat("socket,id=monitor,fd=", numbers.monitor),
      "-mon",
      "chardev=monitor,mode=control",
      "-device",
      "virtio-serial-device,max_ports=2",
      "-chardev",
      Cat("socket,id=console,fd=", numbers.console),
      "-device",
      "virtconsole,chardev=console,nr=0",
      "-chardev",
      Cat("socket,id=agent,fd=", numbers.agent),
      "-device",
      Cat("virtserialport,chardev=agent,nr=1,name=org.microsandbox.agent,id=", kAgentPortId),
      // The first block device is vda. Locks would be taken through /proc/self/fd, which the jail
      // has not; nobody else has these descriptors.
      "-add-fd",
      Cat("fd=", numbers.root_disk, ",set=1"),
      "-blockdev",
      Cat("driver=file,node-name=root,filename=", fdset(1), ",read-only=on,locking=off"),
      "-device",
      "virtio-blk-device,drive=root",
      "-add-fd",
      Cat("fd=", numbers.upper_disk, ",set=2"),
      "-blockdev",
      Cat("driver=file,node-name=upper,filename=", fdset(2),
          ",locking=off,discard=unmap,cache.no-flush=on"),
      "-device",
      "virtio-blk-device,drive=upper,werror=enospc,rerror=report",
      "-object",
      "rng-builtin,id=rng",
      "-device",
      "virtio-rng-device,rng=rng",
      "-device",
      "virtio-balloon-device,free-page-reporting=on",
  };
}

}  // namespace msb::sandbox
