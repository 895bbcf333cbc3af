/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer on libfabric, in a process of its own: it gets the name of an endpoint and the
 * descriptor of a grant, and writes. The test and the peer take turns in messages over
 * the socket of child.h.
 */
#ifndef OFI_PEER_H
#define OFI_PEER_H

#include <daxpin-ofi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct child;

enum ofi_order_type {
	OFI_WRITE = 1,		/* open an endpoint, post a write, reply at once */
	OFI_WRITE_DELIVERED,	/* the same, and reply when it was delivered */
	OFI_READ,		/* open an endpoint, read all, reply when that is over:
				   -EILSEQ if a byte is not `value` */
	OFI_WRITE_AGAIN,	/* post a write on the open endpoint, reply at once */
	OFI_STOP,		/* close the endpoint, reply with the write's result */
};

struct ofi_order {
	uint32_t type;
	unsigned char value;	/* each byte of what is written or read */
	unsigned char descriptor[DAXPIN_OFI_DESCRIPTOR_SIZE];
	unsigned char name[256];
	size_t name_size;
};

/* 0: success; -EINPROGRESS: the write has not completed; otherwise -errno. */
struct ofi_reply {
	int result;
};

/* A result of fi_getinfo(), or NULL if there is no such provider here. extra_modes are
 * bits of mr_mode to allow besides. */
struct fi_info *ofi_find(const char *provider, int extra_modes);

/* Starts a peer. Call it before the first use of libfabric. */
struct child ofi_peer_start(const char *provider);

#endif
