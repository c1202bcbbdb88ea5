// SPDX-License-Identifier: Apache-2.0
// EROFS on disk, as far as we write it: uncompressed, 4 KiB blocks, Linux 5.15 and later.
//
// Everything is little-endian. The image as we lay it out:
//
//   block 0        1024 bytes of nothing, the superblock at 1024, the rest zero
//   1 .. D-1       file contents, each file from the start of a block, in the order of the input
//   D .. M-1       directory blocks of directories too large for their inode's tail
//   M .. end       the metadata: inodes, each with its attributes and its tail
//
// Contents come first so that they can be written while the input streams by, when nobody knows yet
// how many inodes there will be. Metadata sits together at the end, so `find` reads a dense run.
//
// Inodes. A nid is (offset of the inode - M * 4096) / 32; the superblock's meta_blkaddr is M. There
// is a compact inode (32 bytes, no time of its own) and an extended one (64 bytes); we write only
// the extended. After the inode follow, without gaps, its attributes ("ibody") and then what its
// layout says:
//   kFlatPlain   content in consecutive blocks from start_block on
//   kFlatInline  the same, but the last, partial block follows the attributes. The tail must not
//                cross a block boundary; an inode may (we never let it). A symlink that lies in its
//                tail is "fast": the kernel keeps it in memory with the inode
//   kChunkBased  an array, aligned to 4, of block numbers, one for each chunk of 4096 << k bytes;
//                0xffffffff is a hole. This is how sparse files are stored
//
// Directories are files made of 4 KiB blocks. A block starts with 12-byte dirents, and the names
// follow: the first dirent's name offset divided by 12 is their number, a name ends where the next
// begins, the last one at a NUL or the block's end. Names are sorted as unsigned bytes through the
// whole directory, "." and ".." in their sorted places, so lookup is two binary searches.
//
// Attributes. A 12-byte header, then entries {name length, prefix index, value size, name without
// its prefix, value}, each padded to 4 bytes. xattr_count in the inode is 0 for none, else
// 1 + (bytes after the header) / 4, so a file can hold 256 KiB of them. POSIX ACLs are stored in
// the form that setxattr takes, under an index of their own with an empty name.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace msb::rootfs::erofs {

inline constexpr uint32_t kBlockBits = 12;
inline constexpr uint32_t kBlockSize = 1 << kBlockBits;
inline constexpr uint32_t kSuperblockOffset = 1024;
inline constexpr uint32_t kMagic = 0xe0f5e1e2;
inline constexpr uint32_t kSlotSize = 32;  // A nid counts these.
inline constexpr uint32_t kHole = 0xffffffff;
inline constexpr uint32_t kMaxName = 255;
inline constexpr uint32_t kMaxChunkBits = 31;
inline constexpr uint64_t kMaxBlocks = 0xfffffffe;

inline constexpr uint32_t kCompatChecksum = 1;       // The superblock has a CRC-32C.
inline constexpr uint32_t kCompatMtime = 2;          // Inode times are mtimes.
inline constexpr uint32_t kIncompatChunkedFile = 4;  // Some inode is kChunkBased.

struct Superblock {
  uint32_t magic;
  uint32_t
      checksum;  // CRC-32C of bytes 1024 to 4095 with this field zero, not inverted at the end.
  uint32_t feature_compat;
  uint8_t block_bits;
  uint8_t extension_slots;
  uint16_t root_nid;  // 16 bits: the root inode sits in the first 2 MiB of the metadata.
  uint64_t inodes;
  uint64_t build_time;  // The time of compact inodes.
  uint32_t build_time_nsec;
  uint32_t blocks;
  uint32_t meta_block;
  uint32_t shared_xattr_block;
  std::array<uint8_t, 16> uuid;
  std::array<char, 16> volume_name;
  uint32_t feature_incompat;
  uint16_t compression;
  uint16_t extra_devices;
  uint16_t device_slot_offset;
  uint8_t directory_block_bits;
  uint8_t xattr_prefixes;
  uint32_t xattr_prefix_start;
  uint64_t packed_nid;
  uint8_t xattr_filter;
  std::array<uint8_t, 23> reserved;
};
static_assert(sizeof(Superblock) == 128 && std::is_trivially_copyable_v<Superblock>);

enum class Layout : uint16_t { kFlatPlain = 0, kFlatInline = 2, kChunkBased = 4 };

// Bit 0 says extended, bits 1 to 3 the layout.
constexpr uint16_t InodeFormat(Layout layout) {
  return static_cast<uint16_t>(1 | static_cast<uint16_t>(layout) << 1);
}

struct Inode {
  uint16_t format;
  uint16_t xattr_count;
  uint16_t mode;
  uint16_t reserved;
  uint64_t size;
  uint32_t data;  // Start block; device number; or the chunk's k in the low 5 bits.
  uint32_t ino;   // For 32-bit stat.
  uint32_t uid;
  uint32_t gid;
  int64_t mtime;
  uint32_t mtime_nsec;
  uint32_t nlink;
  std::array<uint8_t, 16> reserved2;
};
static_assert(sizeof(Inode) == 64 && std::is_trivially_copyable_v<Inode>);

inline constexpr uint32_t kXattrHeaderSize = 12;  // All zero: no name filter, none shared.

struct XattrEntry {
  uint8_t name_length;
  uint8_t prefix;
  uint16_t value_size;
};
static_assert(sizeof(XattrEntry) == 4);

enum class XattrPrefix : uint8_t {
  kUser = 1,
  kPosixAclAccess = 2,
  kPosixAclDefault = 3,
  kTrusted = 4,
  kSecurity = 6,
};

inline constexpr uint32_t kDirentSize = 12;  // u64 nid, u16 name offset, u8 type, u8 zero.

enum class FileType : uint8_t {
  kRegular = 1,
  kDirectory = 2,
  kCharacter = 3,
  kBlock = 4,
  kFifo = 5,
  kSocket = 6,
  kSymlink = 7,
};

// The kernel's own packing of a device number (new_encode_dev): 12 bits major, 20 bits minor.
constexpr uint32_t PackDevice(uint32_t major, uint32_t minor) {
  return (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~0xffu) << 12;
}

}  // namespace msb::rootfs::erofs
