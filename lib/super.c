/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A change writes the older half, fence, the copy's older half, fence. So at
 * any cut one half of the page is whole, and the copy is at most one change
 * behind it; a page whose newest half is older than the copy's was damaged.
 */
#include <errno.h>
#include "os.h"
#include "super.h"

static const uint64_t page_offset[2] = { DP_SUPER_OFFSET, DP_COPY_OFFSET };

struct page {
	struct dp_super half[2];
};

static_assert(sizeof(struct page) == DP_BLOCK_SIZE, "a page is two halves");

/* The newer whole half, or NULL. */
static const struct dp_super *newest(const struct page *page)
{
	const struct dp_super *found = NULL;

	for (int i = 0; i < 2; i++)
		if (dp_super_is_whole(&page->half[i]) &&
		    (!found || page->half[i].sequence > found->sequence))
			found = &page->half[i];
	return found;
}

static bool has_magic(const struct page *page)
{
	return !memcmp(page->half[0].magic, DP_MAGIC, 8) ||
	       !memcmp(page->half[1].magic, DP_MAGIC, 8);
}

static int judge(const struct page page[2], struct dp_super *ret_super,
		 const struct dp_why *why)
{
	const struct dp_super *main = newest(&page[0]), *copy = newest(&page[1]);
	const struct dp_super *best = main;

	if (!main || (copy && copy->sequence > main->sequence))
		best = copy;
	*ret_super = best ? *best : (struct dp_super) { .version = 0 };
	if (!main && !copy && !has_magic(&page[0]) && !has_magic(&page[1]))
		return dp_fail(why, -EMEDIUMTYPE,
			       "there is no daxpin pool: create one");
	if (!main || best != main)
		return dp_fail(why, -EUCLEAN,
			       "the superblock at offset 0x0 is damaged, its copy at 0x%llx is %s; the pool was left untouched",
			       (unsigned long long)DP_COPY_OFFSET,
			       copy ? "whole" : "damaged too");
	if (main->version != DP_VERSION)
		return dp_fail(why, -EPROTONOSUPPORT,
			       "the pool has format version %u, this library knows %u: use a newer daxpin",
			       main->version, DP_VERSION);
	return 0;
}

int dp_super_read(const char *base, struct dp_super *ret_super,
		  const struct dp_why *why)
{
	struct page page[2];
	int ret;

	memset(ret_super, 0, sizeof(*ret_super));
	for (int i = 0; i < 2; i++) {
		ret = dp_os_copy_checked(&page[i], base + page_offset[i],
					 sizeof(page[i]));
		if (ret)
			return dp_fail(why, ret,
				       "the superblock at offset 0x%llx cannot be read",
				       (unsigned long long)page_offset[i]);
	}
	return judge(page, ret_super, why);
}

/* Sequence 1 goes into the second half. */
int dp_super_announce(char *base, struct dp_persist *persist)
{
	char *to = base + DP_SUPER_OFFSET + sizeof(struct dp_super);
	uint64_t magic;
	int ret;

	memcpy(&magic, DP_MAGIC, sizeof(magic));
	dp_persist_store(persist, to, magic);
	ret = dp_persist_flush(persist, to, sizeof(magic));
	dp_persist_fence(persist);
	return ret;
}

int dp_super_write(char *base, struct dp_persist *persist,
		   struct dp_super *super)
{
	int ret;

	super->sequence++;
	dp_super_seal(super);
	for (int i = 0; i < 2; i++) {
		char *to = base + page_offset[i] +
			   (super->sequence & 1) * sizeof(*super);

		dp_persist_copy(persist, to, super, sizeof(*super));
		ret = dp_persist_flush(persist, to, sizeof(*super));
		if (ret)
			return ret;
		dp_persist_fence(persist);
	}
	return 0;
}
