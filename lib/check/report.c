/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/report.h"

#define WHAT_SIZE	400

int dp_report_finding(struct dp_report *report, struct daxpin_finding finding,
		      const char *format, ...)
{
	char what[WHAT_SIZE];
	bool curable = finding.cure == DAXPIN_CURE_DERIVED ||
		       finding.cure == DAXPIN_CURE_LOSSY;
	bool agreed = finding.cure == DAXPIN_CURE_DERIVED;
	va_list ap;
	int ret = 0;

	assert(finding.structure && finding.severity);
	assert(!finding.cure == !finding.remedy);
	va_start(ap, format);
	vsnprintf(what, sizeof(what), format, ap);
	va_end(ap);
	finding.size = sizeof(finding);
	finding.what = what;
	report->summary.damages += finding.severity == DAXPIN_SEVERITY_DAMAGE;
	if (report->fn)
		ret = report->fn(&finding, report->arg);
	if (ret < 0)
		return ret;
	if (!report->patches || !curable || !(agreed || ret > 0))
		return 0;
	report->summary.repaired++;
	return 1;
}

/* The old bytes are read from the medium, because the image's copy may differ. */
int dp_report_patch(struct dp_report *report, uint64_t offset, const void *new,
		    uint32_t length)
{
	const struct dp_image *image = report->image;
	char old[DP_BLOCK_SIZE];
	int ret;

	assert(report->patches && length <= sizeof(old));
	ret = dp_badblocks_read(&image->view, offset, old, length);
	if (ret || !memcmp(old, new, length))
		return ret;
	return dp_patches_add(report->patches, image->index, offset, old, new,
			      length);
}
