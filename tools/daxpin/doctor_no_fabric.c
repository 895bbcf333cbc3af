/* SPDX-License-Identifier: BSD-3-Clause */
/* Replaces doctor_fabric.c in a build without libfabric. */
#include "doctor.h"

void doctor_fabric(struct doctor *doctor)
{
	doctor_report(doctor, (struct answer) {
		.subject = SUBJECT_FABRIC, .verdict = VERDICT_UNKNOWN,
		.needed = doctor->fabric != NULL,
		.remedy = "build daxpin with libfabric",
	}, "this daxpin was built without libfabric");
}

void doctor_fabric_table(const struct doctor *doctor)
{
	(void)doctor;
}

void doctor_fabric_json(struct doctor *doctor)
{
	json_array(&doctor->json, "fabrics");
	json_end_array(&doctor->json);
}
