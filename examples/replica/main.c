/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica: blocks of a pool, copied to other processes, on this machine or others. A
 * block is confirmed when every peer has it in its own pool, durable.
 *
 *	replica peer /dev/shm/b 127.0.0.2 7001 &
 *	replica peer /dev/shm/c 127.0.0.3 7001 &
 *	replica owner /dev/shm/a 127.0.0.1 1048576 127.0.0.2:7001 127.0.0.3:7001 < data
 *
 * The owner prints the number of each block that is confirmed. Kill any of the three at
 * any time and start it again: what was confirmed is in all three pools.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "log.h"
#include "replica.h"

static const char usage[] =
"usage: replica [--provider NAME] owner POOL ADDRESS BYTES PEER:PORT...\n"
"       replica [--provider NAME] peer POOL ADDRESS PORT\n"
"       replica list POOL\n"
"       replica read POOL NUMBER\n"
"\n"
"The owner reads blocks of BYTES (at most 1048576) from stdin, copies each to all\n"
"peers, and prints its number when all have it. ADDRESS is one of this machine.\n"
"NAME is a provider of libfabric, the same for all: tcp;ofi_rxm (the default), or\n"
"verbs;ofi_rxm if ADDRESS is that of an RDMA device.\n"
"The pools are directories, which owner and peer make if they do not exist. list\n"
"prints the numbers and sizes of the last 32 blocks of a pool, read writes one to\n"
"stdout.\n";

static int list_main(const char *path)
{
	struct log log = { 0 };
	struct daxpin_extent extent;
	struct log_header header;
	uint64_t seq;

	if (log_open(&log, path, false))
		return 1;
	seq = log.head > LOG_SLOTS ? log.head - LOG_SLOTS : 0;
	while (++seq <= log.head)
		if (!log_find(&log, seq, &extent, &header))
			printf("%llu %llu\n", (unsigned long long)seq,
			       (unsigned long long)header.bytes);
	return log_close(&log) != 0;
}

static int read_main(const char *path, uint64_t seq)
{
	struct log log = { 0 };
	struct daxpin_extent extent;
	struct log_header header;
	bool done;
	int ret;

	if (log_open(&log, path, false))
		return 1;
	ret = log_find(&log, seq, &extent, &header);
	done = !ret && fwrite(daxpin_ptr(log.pool, extent, LOG_HEADER), 1,
			      header.bytes, stdout) == header.bytes;
	if (ret)
		fprintf(stderr, "replica: block %llu: %s\n", (unsigned long long)seq,
			daxpin_strerror(ret));
	return log_close(&log) != 0 || !done || fflush(stdout);
}

static int run(const char *provider, int argc, char **argv)
{
	const char *what = argc > 1 ? argv[0] : "";

	if (!strcmp(what, "owner") && argc > 4 && argc <= 4 + PEERS_MAX)
		return owner_main(provider, argv[1], argv[2],
				  strtoull(argv[3], NULL, 10), argv + 4, argc - 4);
	if (!strcmp(what, "peer") && argc == 4)
		return peer_main(provider, argv[1], argv[2], argv[3]);
	if (!strcmp(what, "list") && argc == 2)
		return list_main(argv[1]);
	if (!strcmp(what, "read") && argc == 3)
		return read_main(argv[1], strtoull(argv[2], NULL, 10));
	fputs(usage, stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "provider", required_argument, NULL, 'p' },
		{ 0 },
	};
	const char *provider = "tcp;ofi_rxm";
	int option;

	while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (option != 'p') {
			fputs(usage, stderr);
			return 2;
		}
		provider = optarg;
	}
	return run(provider, argc - optind, argv + optind);
}
