def run(options, shot, progress):
    progress("report",1,1); p=options.output/"report"; p.mkdir(exist_ok=True); (p/"index.html").write_text("x"); return {},[]
def summary_rows(document):
    return [(k,f"{v['seconds']:.1f} s  "+str({a:b for a,b in v['summary'].items() if not isinstance(b,list) or len(b)<4})) for k,v in document["steps"].items()]
def all_warnings(document):
    return [w for v in document["steps"].values() for w in v["warnings"]]
