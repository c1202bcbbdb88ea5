# SPDX-License-Identifier: Apache-2.0
# From the PVH entry to 64-bit C++, and the same way for a second processor.
#
# Xen, docs/misc/pvh: 32-bit protected mode, flat segments, no paging, EBX the start info. Intel SDM
# volume 3: 10.8.5 (the way to IA-32e mode), 9.4 (starting other processors). All of the first 4 GiB
# is mapped where it is: memory and the windows of devices.

.set kCr0ProtectedMode, 1
.set kCr0Paging, 1 << 31
.set kCr4Pae, 1 << 5
.set kMsrEfer, 0xc0000080
.set kEferLongMode, 1 << 8
.set kPresentWritable, 3
.set kLargePage, 0x83
.set kCode64, 0x08
.set kData, 0x10
.set kCode32, 0x18
.set kStackBytes, 32768

.section .note.Xen, "a", @note
  .balign 4
  .long 4, 4, 18                # Sizes of name and value, XEN_ELFNOTE_PHYS32_ENTRY.
  .asciz "Xen"
  .long Entry

.text
.code32
.globl Entry
Entry:
  cli
  cld
  mov %ebx, start_info_address

  # 2048 pages of 2 MiB in four tables that lie one after another.
  mov $page_directories, %edi
  mov $kLargePage, %eax
1:
  mov %eax, (%edi)
  add $8, %edi
  add $0x200000, %eax
  jnc 1b
  mov $page_directories, %eax
  or $kPresentWritable, %eax
  mov $page_pointers, %edi
  mov $4, %ecx
2:
  mov %eax, (%edi)
  add $8, %edi
  add $4096, %eax
  loop 2b
  mov $page_pointers, %eax
  or $kPresentWritable, %eax
  mov %eax, page_top

  mov $stack_top, %esp
  mov $Main, %esi
  jmp LongMode

# ESP the stack, ESI where to go on in 64-bit mode.
LongMode:
  mov %cr4, %eax
  or $kCr4Pae, %eax
  mov %eax, %cr4
  mov $page_top, %eax
  mov %eax, %cr3
  mov $kMsrEfer, %ecx
  rdmsr
  or $kEferLongMode, %eax
  wrmsr
  mov %cr0, %eax
  or $kCr0Paging, %eax
  mov %eax, %cr0
  lgdt descriptor_tables
  ljmp $kCode64, $In64Bits

.code64
In64Bits:
  mov $kData, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %fs
  mov %eax, %gs
  mov %eax, %ss
  mov %esp, %esp                # The upper halves are undefined after the switch.
  mov %esi, %esi
  call *%rsi
3:
  cli
  hlt
  jmp 3b

# Copied to a page below 1 MiB, where the second processor begins in real mode with CS that page.
.section .rodata
.code16
.globl second_start, second_end
second_start:
  cli
  mov %cs, %ax
  mov %ax, %ds
  lgdtl descriptor_tables_copy - second_start
  mov %cr0, %eax
  or $kCr0ProtectedMode, %eax
  mov %eax, %cr0
  ljmpl $kCode32, $SecondEntry
  .balign 4
descriptor_tables_copy:
  .word descriptors_end - descriptors - 1
  .long descriptors
second_end:

.text
.code32
SecondEntry:
  mov $kData, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov $second_stack_top, %esp
  mov $SecondMain, %esi
  jmp LongMode

.section .rodata
  .balign 8
descriptors:
  .quad 0
  .quad 0x00af9a000000ffff      # Code, 64 bits.
  .quad 0x00cf92000000ffff      # Data.
  .quad 0x00cf9a000000ffff      # Code, 32 bits.
descriptors_end:
  .balign 4
descriptor_tables:
  .word descriptors_end - descriptors - 1
  .long descriptors

.bss
  .balign 4096
page_top:         .skip 4096
page_pointers:    .skip 4096
page_directories: .skip 4 * 4096
stack:            .skip kStackBytes
stack_top:
second_stack:     .skip kStackBytes
second_stack_top:
.globl start_info_address
start_info_address: .skip 8

.section .note.GNU-stack, "", @progbits
