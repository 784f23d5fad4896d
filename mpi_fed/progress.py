"""Stub until the real one."""
class Progress:
    def __init__(self, total_rounds, *labels, enabled=True): self.on=enabled
    def __enter__(self): return self
    def __exit__(self,*a): pass
    def start(self,label): 
        if self.on: print("start",label,flush=True)
    def advance(self,n): pass
    def done(self,label,message=""): 
        if self.on: print("done",label,message,flush=True)
