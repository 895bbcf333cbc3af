/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The protocol: the client sends one request at a time and the target one answer, both
 * little-endian. The data are moved by RDMA.
 *
 *	PUT name size		-> grant to write the data
 *	COMMIT hash		-> the grant is revoked; the block has that name, and is
 *				   durable
 *	GET name		-> grant to read the data, size, hash
 *	DONE			-> the grant is revoked; a PUT is undone
 *	RETIRE name		-> the block and its name are removed
 *
 * Fields that a request does not use are zero. A client has one grant at a time.
 *
 * status of an answer:
 * -EBADMSG	COMMIT: the data do not have that hash
 * -EBUSY	PUT, GET: the client has a grant
 * -EINVAL	a field must be zero, or must not be; a name without its NUL; COMMIT
 *		without PUT; DONE without a grant
 * -EIO		the memory of the block with that name is bad
 * -ENOENT	there is no block of that name, or a repair has removed the name
 * -EPROTO	the type is unknown
 * -EPROTONOSUPPORT  version is not STORE_VERSION
 * -EUCLEAN	the name is not that of a block: another program has made it
 * Others as daxpin_reserve(), daxpin_rdma_grant() and daxpin_publish().
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <daxpin-rdma.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define STORE_VERSION	2
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

/* 0, or the status that the request gets. Afterwards request->name is a string. */
static inline int message_check_request(const struct message *request)
{
	static const struct message none;
	uint32_t type = request->type;
	bool named = type == MESSAGE_PUT || type == MESSAGE_GET ||
		     type == MESSAGE_RETIRE;
	struct message rest = *request;

	if (request->version != STORE_VERSION)
		return -EPROTONOSUPPORT;
	if (type < MESSAGE_PUT || type > MESSAGE_RETIRE)
		return -EPROTO;
	if (named != !!request->name[0] || (type == MESSAGE_PUT) != !!request->size ||
	    !memchr(request->name, '\0', sizeof(request->name)))
		return -EINVAL;
	rest.version = rest.type = 0;
	rest.size = 0;
	if (type == MESSAGE_COMMIT)
		rest.hash = 0;
	if (named)
		memset(rest.name, 0, sizeof(rest.name));
	return memcmp(&rest, &none, sizeof(rest)) ? -EINVAL : 0;
}

#endif
