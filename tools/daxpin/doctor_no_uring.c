/* SPDX-License-Identifier: BSD-3-Clause */
/* Replaces doctor_uring.c in a build without liburing. */
#include "doctor.h"

void doctor_uring(struct doctor *doctor)
{
	doctor_report(doctor, (struct answer) {
		.subject = SUBJECT_URING, .verdict = VERDICT_UNKNOWN,
		.needed = doctor->place.source != DAXPIN_SOURCE_DISK,
		.remedy = "build daxpin with liburing",
	}, "this daxpin was built without io_uring");
}
