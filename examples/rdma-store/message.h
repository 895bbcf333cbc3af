/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The protocol: the client sends one request at a time and the target one answer, both
 * little-endian. The data are moved by RDMA.
 *
 *	PUT name size		-> grant to write; a COMMIT may follow
 *	COMMIT hash		-> the block has that name, and is durable
 *	GET name		-> grant to read, size, hash; a DONE must follow
 *	DONE			-> the grant is revoked
 *	RETIRE name		-> the block and its name are removed
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <daxpin-rdma.h>
#include <endian.h>

#define STORE_VERSION	1
#define STORE_PORT	"7471"

enum message_type {
	MESSAGE_PUT = 1,
	MESSAGE_COMMIT,
	MESSAGE_GET,
	MESSAGE_DONE,
	MESSAGE_RETIRE,
};

struct message {
	uint32_t version;
	uint32_t type;			/* enum message_type */
	int32_t status;			/* in answers: 0 or -errno */
	uint32_t zero;
	uint64_t size;			/* bytes of data */
	uint64_t hash;			/* XXH3 of the data */
	char name[DAXPIN_ROOT_NAME_MAX];
	unsigned char grant[DAXPIN_GRANT_DESCRIPTOR_SIZE];
};

_Static_assert(sizeof(struct message) == 176, "the same on every machine");

/* Converts between the machine's byte order and the message's, in both directions. */
static inline struct message message_swap(struct message m)
{
	m.version = htole32(m.version);
	m.type = htole32(m.type);
	m.status = (int32_t)htole32((uint32_t)m.status);
	m.size = htole64(m.size);
	m.hash = htole64(m.hash);
	return m;
}

/* The header at the start of each block. The data follow it. */
struct header {
	uint64_t size;
	uint64_t hash;
	unsigned char zero[48];
};

_Static_assert(sizeof(struct header) == 64, "a cache line");

#endif
