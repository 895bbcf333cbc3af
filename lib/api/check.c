/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin_check(3): checking and repairing a pool that is not open. The caller's
 * mistakes are found here; check/ does the work.
 */
#include <errno.h>
#include "api/options.h"
#include "check/check.h"
#include "check/repair.h"
#include "util/cancel.h"

static int check_begin_report(const struct dp_options *options,
			      struct dp_report *report, daxpin_finding_fn *fn,
			      void *arg,
			      const struct daxpin_check_summary *summary)
{
	if (!summary || summary->size < sizeof(size_t))
		return dp_fail(&options->errmsg, -EINVAL,
			       "ret_summary is NULL, or its size field is not set");
	*report = (struct dp_report) {
		.fn = fn, .arg = arg, .summary.size = summary->size,
	};
	return 0;
}

static void check_give_summary(const struct dp_report *report,
			       struct daxpin_check_summary *ret_summary)
{
	memcpy(ret_summary, &report->summary,
	       dp_min(report->summary.size, sizeof(*ret_summary)));
}

static int check_run(struct dp_report *report, struct dp_pool_request *request)
{
	struct dp_image image;
	int ret = dp_image_open(&image, request);

	if (ret)
		return ret;
	report->image = &image;
	ret = dp_check(report, request->errmsg);
	dp_image_close(&image);
	return ret;
}

DP_EXPORT int daxpin_check(const char *path,
			   const struct daxpin_pool_options *user,
			   daxpin_finding_fn *fn, void *arg,
			   struct daxpin_check_summary *ret_summary)
{
	DP_CANCEL_POINT();
	struct dp_report report;
	struct dp_options options;
	int ret = dp_options_take(&options, path, user, DAXPIN_POOL_ANY_NODE);

	if (!ret)
		ret = check_begin_report(&options, &report, fn, arg,
					 ret_summary);
	if (ret)
		return ret;
	options.request.readonly = true;
	options.request.degraded = true;
	ret = dp_options_end(&options, check_run(&report, &options.request));
	if (!ret)
		check_give_summary(&report, ret_summary);
	return ret;
}

DP_EXPORT int daxpin_repair(const char *path,
			    const struct daxpin_pool_options *user,
			    const char *backup, daxpin_finding_fn *fn,
			    void *arg,
			    struct daxpin_check_summary *ret_summary)
{
	DP_CANCEL_POINT();
	struct dp_patches patches = { .count = 0 };
	struct dp_report report;
	struct dp_options options;
	int ret = dp_options_take(&options, path, user, DAXPIN_POOL_ANY_NODE);

	if (!ret)
		ret = check_begin_report(&options, &report, fn, arg,
					 ret_summary);
	if (!ret && !backup)
		ret = dp_fail(&options.errmsg, -EINVAL,
			      "no name for the backup");
	if (ret)
		return ret;
	report.patches = &patches;
	/* The file that may be too large is the backup, not one of the pool. */
	options.request.segment_size = 0;
	ret = dp_options_end(&options, dp_repair(&report, &options.request, backup));
	dp_patches_fini(&patches);
	if (!ret)
		check_give_summary(&report, ret_summary);
	return ret;
}

DP_EXPORT int daxpin_repair_undo(const char *path,
				 const struct daxpin_pool_options *user,
				 const char *backup)
{
	DP_CANCEL_POINT();
	struct dp_options options;
	int ret = dp_options_take(&options, path, user, DAXPIN_POOL_ANY_NODE);

	if (!ret && !backup)
		ret = dp_fail(&options.errmsg, -EINVAL, "no backup");
	if (ret)
		return ret;
	return dp_options_end(&options, dp_repair_undo(&options.request, backup));
}
