/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/detached.h"

#include <assert.h>

struct dp_detached dp_detached_remember(struct dp_detached_list *list,
					struct dp_detached detached)
{
	struct dp_detached oldest;

	assert(detached.handle);
	pthread_mutex_lock(&list->lock);
	oldest = list->of[list->next];
	list->of[list->next] = detached;
	list->next = (list->next + 1) % DP_DETACHED_MAX;
	pthread_mutex_unlock(&list->lock);
	return oldest;
}
