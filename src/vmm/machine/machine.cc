// SPDX-License-Identifier: Apache-2.0
// The order of making, and the end.

#include "vmm/machine/machine.h"

#include "base/text.h"
#include "base/units.h"
#include "vmm/arch/x86_64/cpuid.h"
#include "vmm/arch/x86_64/elf_kernel.h"
#include "vmm/arch/x86_64/layout.h"
#include "vmm/arch/x86_64/mp_table.h"
#include "vmm/arch/x86_64/msr_filter.h"
#include "vmm/arch/x86_64/start_info.h"
#include "vmm/arch/x86_64/vcpu_state.h"

namespace msb::vmm {
namespace {

Result<void> CheckSpec(const MachineSpec& spec) {
  if (spec.cpus < 1 || spec.cpus > kMaxCpus)
    return Error(Code::kInvalidArgument, Cat(spec.cpus, " CPUs: 1 to ", kMaxCpus));
  if (spec.memory_bytes < kMinMemoryBytes || spec.memory_bytes % kPageBytes != 0)
    return Error(Code::kInvalidArgument,
                 Cat(spec.memory_bytes, " bytes of memory: whole pages, at least ",
                     FormatSize(kMinMemoryBytes)));
  return {};
}

// Everything of the machine that comes before its first processor.
Result<void> PrepareVm(const Vm& vm, const GuestMemory& memory) {
  TRY(vm.SplitIrqchip());
  TRY(vm.SetTssAddress(kTssAddress));
  TRY(vm.SetMsrFilter(AllowedMsrs()));
  uint32_t slot = 0;
  for (const GuestMemory::Region& region : memory.regions())
    TRY(vm.SetMemory(slot++, region.start.value, {region.host, region.size}));
  return {};
}

}  // namespace

Machine::Machine(GuestMemory memory, Vm vm, uint32_t cpus, event::Loop& loop)
    : loop_(loop),
      memory_(std::move(memory)),
      vm_(std::move(vm)),
      io_apic_(static_cast<uint8_t>(cpus), Devices::kPins,
               [this](uint32_t address, uint32_t data) {
                 // Fails when the guest named a processor that does not exist: its own loss.
                 (void)vm_.SignalMessage(address, data).ok();
               }),
      device_thread_(loop) {}

Result<std::unique_ptr<Machine>> Machine::Create(const MachineSpec& spec, const Kvm& kvm, Vm vm,
                                                 MachineFiles files, MachineHooks hooks,
                                                 event::Loop& loop) {
  TRY(CheckSpec(spec));
  auto memory = TRY(GuestMemory::Create(spec.memory_bytes).Context("guest memory"));
  if (auto prepared = PrepareVm(vm, memory); !prepared)
    return kvm.Explain(std::move(prepared).error());

  std::unique_ptr<Machine> machine(new Machine(std::move(memory), std::move(vm), spec.cpus, loop));
  auto confine = hooks.confine;
  machine->worker_ = TRY(BlockWorker::Start(
      confine ? std::function<void()>([confine] { confine(ThreadClass::kWorker); }) : nullptr));
  machine->devices_ =
      TRY(Devices::Create(std::move(files.devices), std::move(hooks.events), machine->memory_,
                          machine->io_apic_, machine->device_thread_, loop, *machine->worker_));
  TRY(machine->devices_->BindKicks(machine->vm_, loop));
  machine->addresses_.emplace(machine->io_apic_, machine->devices_->transports());
  TRY(machine->LoadGuest(spec, files));
  auto supported = TRY(kvm.SupportedCpuid());
  TRY(machine->MakeCpus(supported, spec.cpus, hooks));
  return machine;
}

Result<void> Machine::LoadGuest(const MachineSpec& spec, const MachineFiles& files) {
  auto kernel = TRY(LoadKernel(files.kernel, memory_));
  auto initramfs = TRY(LoadInitramfs(files.initramfs, memory_, kernel.end));
  entry_ = kernel.entry;
  TRY(WriteMpTable(memory_, spec.cpus, Devices::kPins));
  return WriteStartInfo(memory_, KernelCommandLine(spec.console, devices_->windows()), initramfs);
}

Result<void> Machine::MakeCpus(std::span<const kvm_cpuid_entry2> supported, uint32_t cpus,
                               const MachineHooks& hooks) {
  TRY(VcpuThread::PrepareSignal());
  auto cpuid = MakeCpuid(supported, cpus);
  for (uint32_t index = 0; index < cpus; index++) {
    auto cpu = TRY(vm_.CreateVcpu(index));
    SetApicId(cpuid, index);
    TRY(cpu.SetCpuid(cpuid));
    if (uint64_t states = ExtendedStates(cpuid); states != 0) TRY(cpu.SetExtendedStates(states));
    if (index == 0) {
      TRY(cpu.SetSpecialRegisters(PvhSpecialRegisters()));
      TRY(cpu.SetRegisters(PvhRegisters(entry_, kStartInfoAddress)));
    }
    VcpuThread::Parts parts;
    parts.addresses = &*addresses_;
    if (hooks.confine) parts.on_start = [confine = hooks.confine] { confine(ThreadClass::kVcpu); };
    parts.on_end = [this](Outcome outcome) {
      loop_.Post([this, outcome = std::move(outcome)] { End(outcome); });
    };
    cpus_.push_back(std::make_unique<VcpuThread>(index, std::move(cpu), std::move(parts)));
  }
  return {};
}

void Machine::Start() {
  for (auto& cpu : cpus_) cpu->Go();
}

// The first one decides: what the others meet afterwards follows from it.
void Machine::End(Outcome outcome) {
  if (!ended_) ended_ = std::move(outcome);
  loop_.Stop();
}

Machine::~Machine() {
  device_thread_.Close();
  cpus_.clear();
}

}  // namespace msb::vmm
