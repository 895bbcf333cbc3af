/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the owner and a peer have in common: messages over TCP, and endpoints of
 * libfabric. The blocks themselves go from memory to memory by fi_write().
 *
 *	peer	HAS seq			the newest block that it has
 *	owner	OFFER seq bytes		asks for memory
 *	peer	GRANT seq		memory for this block, and the endpoint for it
 *	owner	WRITTEN seq		the write was delivered
 *	peer	HAS seq			it has ended the owner's access, and after that
 *					found the block whole and published it
 *
 * Both machines are little-endian, as daxpin needs.
 */
#ifndef WIRE_H
#define WIRE_H

#include <daxpin-ofi.h>
#include <stdbool.h>

#define NAME_MAX_BYTES	128

enum message_type {
	MESSAGE_HAS = 1,
	MESSAGE_OFFER,
	MESSAGE_GRANT,
	MESSAGE_WRITTEN,
};

struct message {
	uint32_t type;			/* enum message_type */
	uint32_t name_size;
	uint64_t seq;
	uint64_t bytes;			/* of the payload */
	unsigned char grant[DAXPIN_OFI_DESCRIPTOR_SIZE];
	unsigned char name[NAME_MAX_BYTES];	/* of the peer's endpoint */
};

/* Sockets: a descriptor, or -errno. */
int wire_listen(const char *address, const char *port);
int wire_connect(const char *address, const char *port);
/* False: the other process has ended, or is silent for too long. */
bool wire_send(int fd, const struct message *message);
bool wire_receive(int fd, struct message *message);
bool wire_has_message(int fd, int ms);

/* A provider, and what it is opened with: a result of fi_getinfo(). */
struct wire_fabric {
	struct fi_info *info;
	struct fid_fabric *fabric;
};

/* This provider, such as tcp;ofi_rxm, at this address of the machine. */
int wire_fabric_open(struct wire_fabric *fabric, const char *provider,
		     const char *address);
void wire_fabric_close(struct wire_fabric *fabric);

#endif
