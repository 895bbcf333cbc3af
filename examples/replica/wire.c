/* SPDX-License-Identifier: BSD-3-Clause */
#include "wire.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Without a byte for so long, the other machine is gone: the kernel ends the
 * connection. */
#define SILENT_MS	30000

static int set_options(int fd)
{
	const int one = 1, idle = 5, ms = SILENT_MS;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle)) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof(idle)) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms)))
		return -errno;
	return 0;
}

static int open_socket(const char *address, const char *port, bool listens)
{
	const struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM, .ai_flags = listens ? AI_PASSIVE : 0,
	};
	const int one = 1;
	struct addrinfo *found;
	int fd, ret;

	if (getaddrinfo(address, port, &hints, &found))
		return -ENOENT;
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ret = fd < 0 ? -errno : set_options(fd);
	if (!ret && listens)
		ret = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
		      bind(fd, found->ai_addr, found->ai_addrlen) ||
		      listen(fd, 4) ? -errno : 0;
	else if (!ret)
		ret = connect(fd, found->ai_addr, found->ai_addrlen) ? -errno : 0;
	freeaddrinfo(found);
	if (ret && fd >= 0)
		close(fd);
	return ret ? ret : fd;
}

int wire_listen(const char *address, const char *port)
{
	return open_socket(address, port, true);
}

int wire_connect(const char *address, const char *port)
{
	return open_socket(address, port, false);
}

bool wire_send(int fd, const struct message *message)
{
	const char *from = (const char *)message;
	size_t sent = 0;
	ssize_t count;

	while (sent < sizeof(*message)) {
		count = send(fd, from + sent, sizeof(*message) - sent, MSG_NOSIGNAL);
		if (count <= 0)
			return false;
		sent += (size_t)count;
	}
	return true;
}

bool wire_receive(int fd, struct message *message)
{
	return recv(fd, message, sizeof(*message), MSG_WAITALL) ==
	       (ssize_t)sizeof(*message) && message->name_size <= NAME_MAX_BYTES;
}

bool wire_has_message(int fd, int ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return poll(&poll_fd, 1, ms) > 0;
}

/*
 * What a provider may demand of this program. The result of fi_getinfo() says what it
 * does demand, and libdaxpin-ofi follows that, so that there is nothing else here that
 * depends on the provider: tcp demands none of these, verbs all.
 *
 *	FI_MR_LOCAL	a region for local memory, too: daxpin_ofi_prep() opens it
 *	FI_MR_ALLOCATED	memory that exists when it is registered: a pool's does
 *	FI_MR_PROV_KEY	the provider chooses the keys: daxpin_ofi_export() sends them
 *	FI_MR_VIRT_ADDR	and the addresses: likewise
 */
#define MR_MODES	(FI_MR_LOCAL | FI_MR_ALLOCATED | FI_MR_PROV_KEY | \
			 FI_MR_VIRT_ADDR)

/* libfabric reads these when it is first used. Over an RDMA device a cache of regions
 * would keep a peer's access after the close of its region, and without shared receive
 * contexts the close of an endpoint can crash (docs/rdma.md R10). */
static bool set_environment(void)
{
	return !setenv("FI_MR_CACHE_MAX_COUNT", "0", 0) &&
	       !setenv("FI_OFI_RXM_USE_SRX", "1", 0);
}

int wire_fabric_open(struct wire_fabric *fabric, const char *provider,
		     const char *address)
{
	struct fi_info *hints = set_environment() ? fi_allocinfo() : NULL;
	int ret;

	if (!hints)
		return -ENOMEM;
	hints->ep_attr->type = FI_EP_RDM;
	hints->caps = FI_RMA | FI_MSG;
	hints->mode = FI_CONTEXT | FI_CONTEXT2;
	hints->domain_attr->mr_mode = MR_MODES;
	hints->fabric_attr->prov_name = strdup(provider);
	ret = fi_getinfo(FI_VERSION(1, 11), address, NULL, FI_SOURCE, hints,
			 &fabric->info);
	if (!ret) {
		ret = fi_fabric(fabric->info->fabric_attr, &fabric->fabric, NULL);
		if (ret)
			fi_freeinfo(fabric->info);
	}
	fi_freeinfo(hints);
	if (ret)
		fprintf(stderr, "replica: %s at %s: %s\n", provider, address,
			fi_strerror(-ret));
	return ret;
}

void wire_fabric_close(struct wire_fabric *fabric)
{
	fi_close(&fabric->fabric->fid);
	fi_freeinfo(fabric->info);
}
