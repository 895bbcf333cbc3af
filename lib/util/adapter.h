/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What both adapters need and the public header does not have. Includes
 * nothing of the library, so that a user's adapter can be written like ours.
 */
#ifndef ADAPTER_H
#define ADAPTER_H

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

/* Put a sentence where the caller wants it, and return the error. */
__attribute__((format(printf, 4, 5)))
static inline int explain(char *why, size_t why_size, int error,
			  const char *format, ...)
{
	va_list args;

	assert(error < 0);
	if (why && why_size) {
		va_start(args, format);
		vsnprintf(why, why_size, format, args);
		va_end(args);
	}
	return error;
}

/*
 * Copy the caller's struct, which begins with its size, over ours. A tail that
 * we do not know must be zero: -E2BIG.
 */
static inline int take_options(void *options, size_t our_size,
			       const void *theirs)
{
	const unsigned char *bytes = theirs;
	size_t size;

	memcpy(&size, theirs, sizeof(size));
	if (size < sizeof(size))
		return -EINVAL;
	for (size_t i = our_size; i < size; i++)
		if (bytes[i])
			return -E2BIG;
	memcpy(options, theirs, size < our_size ? size : our_size);
	return 0;
}

/* The other way: fill the caller's struct as far as he knows it. */
static inline int give_info(void *theirs, const void *info, size_t our_size)
{
	size_t size;

	if (!theirs)
		return -EINVAL;
	memcpy(&size, theirs, sizeof(size));
	if (size < sizeof(size))
		return -EINVAL;
	memcpy((char *)theirs + sizeof(size), (const char *)info + sizeof(size),
	       (size < our_size ? size : our_size) - sizeof(size));
	return 0;
}

#define DETACHED_MAX	64u

/*
 * What was detached, remembered for a while: a late call on it is told so, rather
 * than let at memory that is another's. One for each kind of handle.
 */
struct detached {
	void *handle;
	void *more;			/* what goes with it: here leak checkers see
					   it, whatever memory the handle is in */
};

struct memory_of_detached {
	pthread_mutex_t lock;
	struct detached of[DETACHED_MAX];
	unsigned int next;
};

/* Returns what is forgotten for it, and is to be freed; or NULLs. */
static inline struct detached
remember_detached(struct memory_of_detached *memory, struct detached detached)
{
	struct detached oldest;

	pthread_mutex_lock(&memory->lock);
	oldest = memory->of[memory->next];
	memory->of[memory->next] = detached;
	memory->next = (memory->next + 1) % DETACHED_MAX;
	pthread_mutex_unlock(&memory->lock);
	return oldest;
}

#endif
