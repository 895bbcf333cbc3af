/* SPDX-License-Identifier: BSD-3-Clause */
/* Fields of a descriptor, as bytes that depend on no machine and no compiler. */
#ifndef DP_GRANT_WIRE_H
#define DP_GRANT_WIRE_H

#include <stddef.h>
#include <stdint.h>

/* Little-endian, at most 8 bytes. */
void dp_wire_put(unsigned char *at, uint64_t value, unsigned int bytes);
uint64_t dp_wire_get(const unsigned char *at, unsigned int bytes);
/* The CRC-32C of `size` bytes. */
uint32_t dp_wire_checksum(const unsigned char *bytes, size_t size);

#endif
