/* SPDX-License-Identifier: BSD-3-Clause */
/* A small HTTP server in one thread, which answers GET /metrics. */
#ifndef LISTEN_H
#define LISTEN_H

#include <stdio.h>

struct listen_page {
	const char *command;		/* for messages */
	const char *type;		/* Content-Type */
	/* Writes the page; called for each request. */
	void (*write)(FILE *out, void *arg);
	void *arg;
};

/*
 * Serve the page at ADDRESS:PORT, a numeric address, until SIGTERM or SIGINT. Port 0 is
 * any free one; "listening on ADDRESS:PORT" is printed. Returns an exit status.
 */
int listen_serve(const char *address, const struct listen_page *page);

#endif
