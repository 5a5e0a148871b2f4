rule report:
    input:
        str(PATHS.confirmation),
        [str(PATHS.transfer)] if CONFIG.transfer else [],
    output:
        html=report(
            str(PATHS.report_html),
            caption="../config/captions/report.rst",
            category="Session",
        ),
        facts=str(PATHS.report_json),
        picture=report(
            str(PATHS.progress_png),
            caption="../config/captions/progress.rst",
            category="Session",
        ),
        drawing=str(PATHS.progress_svg),
    log:
        str(PATHS.log("report")),
    benchmark:
        str(PATHS.benchmark("report"))
    localrule: True
    params:
        depends=PLAN.report_digest,
    shell:
        step("report")
