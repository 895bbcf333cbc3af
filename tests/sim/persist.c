/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The seam `persist`: every store, flush and fence of the library goes to the
 * recorded medium. Before each one another actor may get its turn.
 */
#include <string.h>
#include "media.h"
#include "media/persist.h"
#include "schedule.h"

void dp_persist_init(struct dp_persist *persist,
		     enum dp_granularity granularity)
{
	memset(persist, 0, sizeof(*persist));
	persist->granularity = granularity;
}

int dp_persist_bind(struct dp_persist *persist, int fd, void *base,
		    uint64_t size, const struct dp_why *why)
{
	(void)persist, (void)fd, (void)base, (void)size, (void)why;
	return 0;
}

void dp_persist_fini(struct dp_persist *persist)
{
	(void)persist;
}

void dp_persist_store(struct dp_persist *persist, void *to, uint64_t value)
{
	(void)persist;
	assert(!((uintptr_t)to & 7));
	schedule_point();
	media_store(to, &value, sizeof(value));
}

void dp_persist_copy(struct dp_persist *persist, void *to, const void *from,
		     uint64_t size)
{
	(void)persist;
	schedule_point();
	media_store(to, from, size);
}

void dp_persist_zero(struct dp_persist *persist, void *to, uint64_t size)
{
	(void)persist;
	schedule_point();
	media_store(to, NULL, size);
}

void dp_persist_wipe(struct dp_persist *persist, void *to, uint64_t size)
{
	(void)persist;
	schedule_point();
	media_store(to, NULL, size);
	media_flush(to, size);
	media_fence();
}

int dp_persist_flush(struct dp_persist *persist, const void *from, uint64_t size)
{
	(void)persist;
	schedule_point();
	media_flush(from, size);
	return 0;
}

void dp_persist_fence(struct dp_persist *persist)
{
	(void)persist;
	schedule_point();
	media_fence();
}

int dp_persist_error(struct dp_persist *persist)
{
	return persist->error;
}
