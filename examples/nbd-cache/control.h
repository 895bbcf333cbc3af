/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef NBD_CACHE_CONTROL_H
#define NBD_CACHE_CONTROL_H

#include "cache.h"

/*
 * Serve a Unix socket at the path, by a thread, until the stop, which removes it. Only
 * the user of this process can connect. A socket that no process serves is replaced.
 * One cache a process. A client sends one line, and gets an answer and the end of file:
 *
 *	stats		cache_metrics()
 *	limit PERCENT	cache_limit(); "ok" and a sentence, or "error" and a sentence
 *
 * -EADDRINUSE	another process serves the socket, or it is another kind of file
 * -ENAMETOOLONG  the path is longer than the address of a socket
 */
int control_start(struct cache *cache, const char *path);
void control_stop(void);

/* What to say of an error of control_start(), after the path. */
const char *control_reason(int error);

#endif
