/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer on libfabric, in a process of its own: it gets the name of an endpoint and the
 * descriptor of a grant, and writes. The test and the peer take turns in messages over
 * the socket of child.h.
 */
#ifndef OFI_PEER_H
#define OFI_PEER_H

#include <daxpin-ofi.h>
#include <rdma/fabric.h>
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

#define OFI_VERBS	"verbs;ofi_rxm"
#define OFI_DEVICE	"daxpin_ofi0"

/* Close what the program has inherited: the lab's programs inherit a file of a virtio
 * device, with which an attach is refused. */
bool ofi_close_inherited(void);
/* The same, and make a soft-RoCE device, which ofi_find(OFI_VERBS) uses, before the
 * first use of libfabric. Needs root. */
bool ofi_add_device(void);
void ofi_remove_device(void);

/* A result of fi_getinfo(), or NULL if there is no such provider here. extra_modes are
 * bits of mr_mode to allow besides. */
struct fi_info *ofi_find(const char *name, int extra_modes);

/* For info->nic: of a device with this name, or without one if it is NULL. There is one
 * at a time, and fi_freeinfo() leaves it. */
struct fid_nic *ofi_nic(char *name);

/* The provider of the program, which tests use. info is NULL if it is not here. */
extern const char *provider;
extern struct fi_info *info;
extern struct fid_fabric *fabric;

/* Set these. 0, or the error of fi_fabric(); 0 also without the provider. */
int open_provider(const char *name);
int close_provider(void);
/* Is there no such provider? Then the reason is printed. */
bool lacks_provider(void);

#define SKIP_WITHOUT_PROVIDER() \
	do { \
		if (lacks_provider()) \
			skip(); \
	} while (0)

/* Starts a peer. Call it before the first use of libfabric. */
struct child ofi_peer_start(const char *name);

#endif
