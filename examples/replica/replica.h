/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef REPLICA_H
#define REPLICA_H

#include <stdint.h>

#define PEERS_MAX	8

/* Exit statuses. provider: of libfabric. */
int peer_main(const char *provider, const char *path, const char *address,
	      const char *port);
/* peers: "ADDRESS:PORT" each. Blocks of so many bytes are read from stdin. */
int owner_main(const char *provider, const char *path, const char *address,
	       uint64_t bytes, char *const *peers, int count);

#endif
