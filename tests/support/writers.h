/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who may have written an extent. Every 8 bytes have the serial number of their writer
 * in their upper half: of the fill of this generation, or of one grant.
 */
#ifndef WRITERS_H
#define WRITERS_H

#include <stdbool.h>
#include <stdint.h>

#define WRITERS_MAX	8		/* of one generation */

struct writers {
	uint32_t serial[WRITERS_MAX], count;	/* the fill's is first */
};

/* Fills the memory as the writer `serial`, who then is the only one. */
void writers_fill(struct writers *writers, void *memory, uint64_t size,
		  uint32_t serial);

bool writers_are_full(const struct writers *writers);
/* From now on this one may write, too. They must not be full. */
void writers_add(struct writers *writers, uint32_t serial);

/* Writes what a peer with a grant of that serial number sends. */
void writers_stamp(void *memory, uint64_t size, uint32_t serial);

/*
 * Returns the offset of the first 8 bytes that are from another writer, whose serial
 * number is stored in *ret_serial, or `size` if there are none.
 */
uint64_t writers_find_other(const struct writers *writers, const void *memory,
			    uint64_t size, uint32_t *ret_serial);

#endif
